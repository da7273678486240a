"""What an editing prior is asked: edits of held-out names, with all that the attribute might have become.

A task is a function of (seed, its number), so a resumed run goes on with the same ones.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from threestudio_like.data.edits import Edit, seen
from threestudio_like.data.pairs import KEPT, Pairs
from threestudio_like.data.stream import endless
from threestudio_like.data.trials import pictures
from threestudio_like.ranges import Count, Share
from threestudio_like.records import Camera, View

ROOM = 10**6  # numbers of edits that each task has for itself
NOTICED = 0.02  # of a pixel's range


class Question(NamedTuple):
    """B edits. rivals: K pictures each, of the attribute's other values."""

    step: int
    names: list[str]
    kinds: list[str]
    instructions: list[str]
    before: View
    after: View
    rivals: list[Float[Tensor, "K H W 4"]]


class EditTrials(LightningDataModule):
    """`tasks` questions of `pairs.batch_size` edits, each seen by one camera.

    visible: share of the pixels that an edit must change; what the camera does not see is not asked.
    """

    def __init__(self, *, pairs: Pairs, tasks: Count, visible: Share) -> None:
        super().__init__()
        if pairs.views != 1:
            raise ValueError(f"pairs.views: each edit is asked about once, not {pairs.views} times")
        self.pairs, self.tasks, self.visible = pairs, tasks, visible

    def prepare(self) -> None:
        """Read what there is to edit."""
        self.pairs.prepare()

    def train_dataloader(self) -> DataLoader:
        """The tasks from the trainer's step on."""
        assert self.trainer is not None
        if self.trainer.max_steps != self.tasks:
            raise ValueError(
                f"trainer.max_steps: must be {self.tasks}, a step each; not {self.trainer.max_steps}"
            )
        return endless(lambda step, share: self.question(step), self.trainer)

    def question(self, step: int) -> Question:
        """The task of this number."""
        asked: list[tuple[Edit, Camera, View, View]] = []
        index = step * ROOM
        while len(asked) < self.pairs.batch_size:
            edit, camera = self.pairs.edit(index, kept=KEPT, rivals=True)
            before, after = seen(edit.before, camera), seen(edit.after, camera)
            index += 1
            changed = (before.rgba - after.rgba).abs().amax(-1) > NOTICED
            if float(changed.float().mean()) >= self.visible:
                asked.append((edit, camera, before, after))
        size = self.pairs.cameras.size
        place = Camera(
            torch.cat([c.c2w for _, c, _, _ in asked]),
            torch.cat([c.fov_y for _, c, _, _ in asked]),
            size,
            size,
        )
        return Question(
            step=step,
            names=[edit.name for edit, *_ in asked],
            kinds=[edit.kind for edit, *_ in asked],
            instructions=[edit.instruction for edit, *_ in asked],
            before=pictures([before for *_, before, _ in asked], place),
            after=pictures([after for *_, after in asked], place),
            rivals=[self.looks(edit, camera) for edit, camera, _, _ in asked],
        )

    def looks(self, edit: Edit, camera: Camera) -> Float[Tensor, "K H W 4"]:
        """The rivals' pictures; those that look no other than what is asked for are none."""
        shown = [seen(rival, camera).rgba for rival in edit.rivals]
        none = torch.zeros(0, self.pairs.cameras.size, self.pairs.cameras.size, 4)
        after = seen(edit.after, camera).rgba
        return torch.cat([none, *(each for each in shown if (each - after).abs().max() > NOTICED)])
