"""Captions before and after an edit, with its instruction: what pairs of pictures are generated from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from threestudio_like.data.album import camera, poses
from threestudio_like.data.pairs import TRAINED, Pairs
from threestudio_like.data.phrases import said
from threestudio_like.data.shapes import article
from threestudio_like.data.stream import endless
from threestudio_like.records import Camera


class Asked(NamedTuple):
    """B edits in words. names: of what is edited; cameras: where each is seen from."""

    step: int
    names: list[str]
    instructions: list[str]
    before: list[str]
    after: list[str]
    camera: Camera


class Words(NamedTuple):
    """One of them."""

    name: str
    instruction: str
    before: str
    after: str


class CaptionPairs(LightningDataModule):
    """`tasks` batches of `pairs.batch_size` edits of names that may be trained on; nothing is drawn.

    swaps: share of edits that turn a household object into another one, in name alone; the rest are `pairs`'.
    """

    def __init__(self, *, pairs: Pairs, tasks: int, swaps: float) -> None:
        super().__init__()
        if pairs.views != 1:
            raise ValueError(f"pairs.views: each edit has one camera, not {pairs.views}")
        if swaps > 0 and pairs.share == 0:
            raise ValueError("swaps: turns objects into others, but pairs.share is 0: there are none")
        self.pairs, self.tasks, self.swaps = pairs, tasks, swaps

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
        return endless(lambda step, _: self.asked(step), self.trainer)

    def asked(self, step: int) -> Asked:
        """The task of this number."""
        pairs, count = self.pairs, self.pairs.batch_size
        edits = [self.words(step * count + i) for i in range(count)]
        rng = np.random.default_rng([pairs.seed, 3, step])
        seen_from = camera(poses(rng, count, pairs.cameras), pairs.cameras)
        names, instructions, before, after = (list(each) for each in zip(*edits, strict=True))
        return Asked(step, names, instructions, before, after, seen_from)

    def words(self, index: int) -> Words:
        """The edit of this index."""
        rng = np.random.default_rng([self.pairs.seed, 4, index])
        if rng.random() >= self.swaps:
            edit = self.pairs.edit(self.pairs.dice(index, TRAINED), kept=TRAINED)
            return Words(edit.name, edit.instruction, edit.before.caption, edit.after.caption)
        objects = self.pairs.split[TRAINED]
        one, other = (objects[i].name for i in rng.integers(len(objects), size=2))
        words = {"the": str(rng.choice(["it", f"the {one}"])), "a": article(other)}
        return Words(one, said(rng, "replace", words), one, other)
