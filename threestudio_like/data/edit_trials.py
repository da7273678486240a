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

from threestudio_like.data.edits import seen
from threestudio_like.data.pairs import KEPT, Pair, Pairs, changed, joined
from threestudio_like.data.stream import endless
from threestudio_like.ranges import Count, Share
from threestudio_like.records import View

ROOM = 10**6  # numbers of edits that each task has for itself


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
        asked: list[Pair] = []
        index = step * ROOM
        while len(asked) < self.pairs.batch_size:
            pair = self.pairs.pair(index, kept=KEPT, rivals=True)
            index += 1
            if float(changed(pair.before, pair.after).float().mean()) >= self.visible:
                asked.append(pair)
        before, after = joined(asked)
        return Question(
            step=step,
            names=[pair.edit.name for pair in asked],
            kinds=[pair.edit.kind for pair in asked],
            instructions=[pair.edit.instruction for pair in asked],
            before=before,
            after=after,
            rivals=[self.looks(pair) for pair in asked],
        )

    def looks(self, pair: Pair) -> Float[Tensor, "K H W 4"]:
        """The rivals' pictures; those that look no other than what is asked for are none."""
        views = [seen(rival, pair.camera) for rival in pair.edit.rivals]
        none = torch.zeros(0, self.pairs.cameras.size, self.pairs.cameras.size, 4)
        return torch.cat([none, *(view.rgba for view in views if changed(pair.after, view).any())])
