"""What the gate of a view prior asks, all of held-out objects: pairs of views by how far apart they are, and
subjects to make a scene of.

A task is a function of (seed, its number), so a resumed run goes on with the same ones. Objects come in the
order of their names' SHA-256: nobody has chosen them.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from threestudio_like.data.album import MIN_COVER, Cameras, camera, poses
from threestudio_like.data.draw import Light, draw
from threestudio_like.data.objects import Object, held_out
from threestudio_like.data.views import Source
from threestudio_like.ranges import Count, NonNegative, Seed, Whole
from threestudio_like.records import Camera, Mesh, View

log = logging.getLogger(__name__)
PAIRS, SUBJECTS, WRONG, LIBRARY = range(4)  # streams of random numbers


class Pairs(NamedTuple):
    """B objects seen from two cameras each; the first is given, the second is asked for."""

    names: list[str]
    apart: list[list[float]]  # the bucket that the azimuths' difference is in: [from, to], degrees
    reference: View
    target: View
    wrong: Camera  # has nothing to do with the target's
    nearest: Float[Tensor, "B H W 4"]  # the training object most like the reference, from the target's camera
    mean: Float[Tensor, "H W 4"]  # of pictures of all training objects


class Subject(NamedTuple):
    """An object to be made from one picture."""

    name: str
    repeat: int  # which time
    mesh: Mesh
    reference: View
    other: View  # another object from the same camera
    novel: View  # to score by
    cameras: Cameras  # where random ones may be


class Task(NamedTuple):
    """One of the two."""

    step: int
    pairs: Pairs | None
    subject: Subject | None


class Trials(LightningDataModule):
    """First `objects` held-out ones in pairs, `batch` of them a task; then `subjects`, `repeats` times each.

    buckets: their edges, degrees; each object of a pair is asked about once in each.
    rings: cameras that references are taken from, in turn; training objects are compared from there.
    twin: decibels; a held-out object that looks like a training object to this degree is left out.
    solid: which objects may be subjects; one of each name.
    novel: views that a scene is scored by.
    """

    def __init__(
        self,
        *,
        source: Source,
        cameras: Cameras,
        light: Light,
        buckets: Sequence[int | float],
        objects: Whole,
        batch: Count,
        rings: Count,
        twin: NonNegative,
        solid: Callable[[Mesh], bool],
        subjects: Whole,
        repeats: Whole,
        novel: Whole,
        seed: Seed,
    ) -> None:
        super().__init__()
        if subjects == 1:
            raise ValueError("subjects: at least two, as each is shown another's picture; or none")
        self.source, self.cameras, self.light, self.seed = source, cameras, light, seed
        self.buckets, self.num_objects, self.batch, self.rings = buckets, objects, batch, rings
        self.twin = twin
        self.solid, self.num_subjects, self.repeats, self.novel = solid, subjects, repeats, novel
        self.num_batches = math.ceil(objects / batch)

    def __len__(self) -> int:
        return self.num_batches + self.num_subjects * self.repeats

    def train_dataloader(self) -> DataLoader:
        """The tasks from the trainer's step on."""
        assert self.trainer is not None
        if self.trainer.max_steps != len(self):
            parts = f"{self.num_batches} of pairs and {len(self) - self.num_batches} of subjects"
            raise ValueError(f"trainer.max_steps: must be {len(self)}, {parts}; not {self.trainer.max_steps}")
        return DataLoader(Stream(self, self.trainer.global_step), batch_size=None)

    def task(self, step: int) -> Task:
        """The one of this number."""
        index = step - self.num_batches
        if index < 0:
            return Task(step, self.pairs(step), None)
        repeat, which = divmod(index, self.num_subjects)
        return Task(step, None, self.subject(which, repeat))

    @cached_property
    def split(self) -> tuple[list[Object], list[Object]]:
        """Objects to train on, and those held out by name, in their order."""
        objects = self.source.load()
        kept = [o for o in objects if held_out(o.name)]
        seen = [o for o in objects if not held_out(o.name)]
        return seen, sorted(kept, key=lambda o: hashlib.sha256(o.name.encode()).digest())

    def rng(self, *numbers: int) -> np.random.Generator:
        """Of one purpose."""
        return np.random.default_rng([self.seed, *numbers])

    def view(self, mesh: Mesh, pose: Float[Tensor, "B 3"]) -> View:
        """Pictures from (azimuth, elevation, distance)."""
        return draw(mesh, camera(pose, self.cameras), self.light)

    @cached_property
    def ring(self) -> Float[Tensor, "K 3"]:
        """The cameras of the references."""
        return poses(self.rng(LIBRARY), self.rings, self.cameras)

    @cached_property
    def library(self) -> Float[Tensor, "N K H W 4"]:
        """Pictures of all training objects from the references' cameras."""
        training = self.split[0]
        log.info("drawing %d training objects from %d cameras, to compare with", len(training), self.rings)
        return torch.stack([self.view(o.mesh, self.ring).rgba for o in training])

    @cached_property
    def kept(self) -> list[tuple[Object, View]]:
        """Held-out objects seen from the references' cameras, without those that are trained on as well.

        A catalogue may have one model under two names; the split by names does not part these.
        """
        found = []
        for each in self.split[1]:
            views = self.view(each.mesh, self.ring)
            errors = (self.library - views.rgba).square().mean(dim=(1, 2, 3, 4))
            if float(errors.amin()) > 10 ** (-self.twin / 10):
                found.append((each, views))
            else:
                log.info("left out: %s, trained on as %s", each.name, self.split[0][errors.argmin()].name)
        return found

    @cached_property
    def shown(self) -> list[tuple[Object, View]]:
        """The objects of the pairs and their references: those that fill the picture as the album asks."""
        found: list[tuple[Object, View]] = []
        for each, views in self.kept:
            turn = len(found) % self.rings
            place = camera(self.ring[turn, None], self.cameras)
            reference = View(place, views.rgb[turn, None], views.alpha[turn, None])
            if float(reference.alpha.mean()) >= MIN_COVER:
                found.append((each, reference))
            if len(found) == self.num_objects:
                return found
        raise ValueError(f"objects: {self.num_objects} held-out ones with something to see; has {len(found)}")

    def pairs(self, index: int) -> Pairs:
        """One batch of objects, each in all buckets."""
        rows = range(index * self.batch, min((index + 1) * self.batch, self.num_objects))
        spans = list(pairwise(map(float, self.buckets)))
        references, targets, closest = [], [], []
        places, asked, strays = [], [], []
        for row in rows:
            each, reference = self.shown[row]
            pose = self.targets(row, spans)
            references += [reference] * len(spans)
            targets.append(self.view(each.mesh, pose))
            errors = (self.library[:, row % self.rings] - reference.rgba).square().mean(dim=(1, 2, 3))
            closest.append(self.view(self.split[0][errors.argmin()].mesh, pose).rgba)
            asked.append(pose)
            places.append(self.ring[row % self.rings].expand(len(spans), 3))
            strays.append(poses(self.rng(WRONG, row), len(spans), self.cameras))
        return Pairs(
            names=[self.shown[row][0].name for row in rows for _ in spans],
            apart=[list(span) for _ in rows for span in spans],
            reference=pictures(references, camera(torch.cat(places), self.cameras)),
            target=pictures(targets, camera(torch.cat(asked), self.cameras)),
            wrong=camera(torch.cat(strays), self.cameras),
            nearest=torch.cat(closest),
            mean=self.library.mean(dim=(0, 1)),
        )

    def targets(self, row: int, spans: list[tuple[float, float]]) -> Float[Tensor, "K 3"]:
        """Where an object is asked about: one place in each bucket, to the left or to the right."""
        rng = self.rng(PAIRS, row)
        pose = poses(rng, len(spans), self.cameras)
        turn = np.radians(rng.uniform(*zip(*spans, strict=True))) * rng.choice([-1, 1], len(spans))
        pose[:, 0] = self.ring[row % self.rings, 0] + torch.from_numpy(turn)
        return pose

    @cached_property
    def subjects(self) -> list[Object]:
        """The first solid ones, one of each name."""
        found: dict[str, Object] = {}
        for each, _ in self.kept:
            if len(found) < self.num_subjects and each.name not in found and self.solid(each.mesh):
                found[each.name] = each
        if len(found) < self.num_subjects:
            raise ValueError(f"subjects: {self.num_subjects} solid held-out objects; there are {len(found)}")
        log.info("subjects: %s", ", ".join(found))
        return list(found.values())

    def subject(self, which: int, repeat: int) -> Subject:
        """One of them, for the `repeat`-th time, from a camera of its own."""
        each, other = self.subjects[which], self.subjects[(which + 1) % self.num_subjects]
        rng = self.rng(SUBJECTS, which, repeat)
        pose = poses(rng, 1, self.cameras)
        novel = self.view(each.mesh, poses(rng, self.novel, self.cameras))
        reference, stranger = self.view(each.mesh, pose), self.view(other.mesh, pose)
        return Subject(each.name, repeat, each.mesh, reference, stranger, novel, self.cameras)


class Stream(IterableDataset):
    """The tasks that are left."""

    def __init__(self, trials: Trials, start: int) -> None:
        self.trials, self.start = trials, start

    def __iter__(self) -> Iterator[Task]:
        return map(self.trials.task, range(self.start, len(self.trials)))


def pictures(views: list[View], camera: Camera) -> View:
    """Views one after another, seen by `camera`."""
    rgb, alpha = (torch.cat([getattr(view, name) for view in views]) for name in ("rgb", "alpha"))
    return View(camera, rgb, alpha)
