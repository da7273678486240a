"""Pictures before and after an edit, with the instruction between them: what an editing prior learns from.

An edit is a function of (seed, its index), so a resumed run goes on with the same stream. Each is drawn on
the fly from a few cameras, before and after from the same ones.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from threestudio_like.data import shape_edits, shapes
from threestudio_like.data.album import Cameras, camera, poses
from threestudio_like.data.draw import Light
from threestudio_like.data.edits import OBJECT_KINDS, Edit, Kind, Look, Thing, edit, seen
from threestudio_like.data.objects import Object, held_out
from threestudio_like.data.shape_edits import SHAPE_KINDS
from threestudio_like.data.shapes import article
from threestudio_like.data.stream import endless, num_shares
from threestudio_like.data.trials import pictures
from threestudio_like.data.views import Source
from threestudio_like.ranges import Count, Seed, Share, Whole
from threestudio_like.records import Camera, Example, View

log = logging.getLogger(__name__)
NUM_SHAPES = 2**31
TRAINED, KEPT = False, True
NOTICED = 0.02  # of a pixel's range


class Pair(NamedTuple):
    """An edit and what B cameras see of it: something else in every one."""

    edit: Edit
    camera: Camera
    before: View
    after: View


class Pairs(LightningDataModule):
    """Examples without end: target is after, reference before, prompts are the instructions.

    source: household objects; one name in ten is held out. Shapes, of any number, are held out by caption.
    share: of edits that are done to objects; 0 reads none.
    kinds: how often each kind of edit is asked for, where it applies.
    views: cameras that see each edit; they divide the batch.
    validation: how many held-out examples a validation sees, the same ones each time.
    """

    def __init__(
        self,
        *,
        source: Source,
        share: Share,
        kinds: Mapping[str, int | float],
        cameras: Cameras,
        light: Light,
        views: Count,
        batch_size: Count,
        validation: Whole,
        seed: Seed,
    ) -> None:
        super().__init__()
        known = sorted({*OBJECT_KINDS, *SHAPE_KINDS})
        for name in kinds:
            if name not in known:
                raise ValueError(f"kinds.{name}: no such kind of edit; choose from {', '.join(known)}")
        if batch_size % views or validation % views:
            raise ValueError(
                f"views: {views} divides not both batch_size {batch_size}, validation {validation}"
            )
        self.source, self.share, self.kinds = source, share, kinds
        self.cameras, self.light, self.views = cameras, light, views
        self.batch_size, self.validation, self.seed = batch_size, validation, seed

    @cached_property
    def split(self) -> dict[bool, list[Object]]:
        """Objects by whether they are held out."""
        objects = self.source.load() if self.share > 0 else []
        parts = {side: [o for o in objects if held_out(o.name) == side] for side in (TRAINED, KEPT)}
        if self.share > 0 and not parts[TRAINED]:
            raise ValueError(f"no object to train on: all {len(parts[KEPT])} are held out by name")
        log.info("edits of %d objects, %d held out by name, and of shapes", *map(len, parts.values()))
        return parts

    def prepare(self) -> None:
        """Read what there is to edit, before anything heavy begins."""
        assert self.split

    def pair(self, index: int, *, kept: bool, rivals: bool = False) -> Pair:
        """An edit of what is held out or of the rest, the first of this index's that all its cameras see."""
        rng = self.dice(index, kept)
        while True:
            made = self.edit(rng, kept=kept, rivals=rivals)
            place = camera(poses(rng, self.views, self.cameras), self.cameras)
            pair = Pair(made, place, seen(made.before, place), seen(made.after, place))
            if changed(pair.before, pair.after).any((1, 2)).all():
                return pair

    def dice(self, index: int, kept: bool) -> np.random.Generator:
        """What an index's edits are drawn with."""
        return np.random.default_rng([self.seed, kept, index])

    def edit(self, rng: np.random.Generator, *, kept: bool, rivals: bool = False) -> Edit:
        """A random edit, seen by nobody yet."""
        return edit(rng, *self.thing(rng, kept), self.kinds, rivals=rivals)

    def thing(self, rng: np.random.Generator, kept: bool) -> tuple[Thing, Mapping[str, Kind]]:
        """What is edited, and what can be done to it."""
        objects = self.split[kept]
        if objects and rng.random() < self.share:
            return self.object(objects[rng.integers(len(objects))]), OBJECT_KINDS
        return self.shape(rng, kept), SHAPE_KINDS

    def object(self, found: Object) -> Thing:
        """Of the household."""
        look = Look(article(found.name), found.mesh, self.light)
        return Thing(found.name, found.name, look, None)

    def shape(self, rng: np.random.Generator, kept: bool) -> Thing:
        """The next one on this side of the split."""
        while True:
            shape = shapes.shape(self.seed, int(rng.integers(NUM_SHAPES)))
            if held_out(shape.caption) == kept:
                return shape_edits.thing(shape, self.light)

    def example(self, step: int, first: int, count: int, *, kept: bool) -> Example:
        """`count` examples, from the edit of index `first` on."""
        pairs = [self.pair(first + i, kept=kept) for i in range(count // self.views)]
        before, after = joined(pairs)
        prompts = [pair.edit.instruction for pair in pairs for _ in range(self.views)]
        return Example(step, prompts, after, before)

    def training_example(self, step: int, share: int) -> Example:
        """What a share of `step` sees in training."""
        assert self.trainer is not None
        batch = step * num_shares(self.trainer) + share
        return self.example(step, batch * (self.batch_size // self.views), self.batch_size, kept=TRAINED)

    def train_dataloader(self) -> DataLoader:
        """The stream from the trainer's step on."""
        return endless(self.training_example, self.trainer)

    def val_dataloader(self) -> DataLoader:
        """The fixed examples of what is held out."""
        starts = range(0, self.validation, self.batch_size)
        counts = [min(self.batch_size, self.validation - start) for start in starts]
        examples = [
            self.example(step, start // self.views, count, kept=KEPT)
            for step, (start, count) in enumerate(zip(starts, counts, strict=True))
        ]
        return DataLoader(examples, batch_size=None)  # type: ignore[arg-type]


def joined(pairs: list[Pair]) -> tuple[View, View]:
    """What is seen before and after, of all of them in turn."""
    c2w, fov_y = (torch.cat(part) for part in zip(*(pair.camera[:2] for pair in pairs), strict=True))
    place = pairs[0].camera._replace(c2w=c2w, fov_y=fov_y)
    return pictures([pair.before for pair in pairs], place), pictures([pair.after for pair in pairs], place)


def changed(before: View, after: View) -> Bool[Tensor, "B H W"]:
    """Pixels that an edit changes to be noticed."""
    return (before.rgba - after.rgba).abs().amax(-1) > NOTICED
