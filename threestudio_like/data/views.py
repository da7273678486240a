"""Pictures of many objects from random cameras: what the small priors learn from.

What a step sees is a function of (seed, step, share), so a resumed run goes on with the same stream.
"""

from __future__ import annotations

import logging
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from threestudio_like import cache
from threestudio_like.data.album import Album, Cameras, Variety, album, camera
from threestudio_like.data.draw import Light
from threestudio_like.data.objects import Object, held_out
from threestudio_like.data.stream import endless
from threestudio_like.ranges import Count, NonNegative, Seed, Whole
from threestudio_like.records import Example, View

log = logging.getLogger(__name__)
VALIDATION_VIEWS = 8  # of each held-out object
ROUND = 0.1  # of the outlines of a solid of revolution no more is on one side only; a ball .03, a cup .07


@runtime_checkable
class Source(Protocol):
    """Where objects come from."""

    def load(self) -> list[Object]:
        """All of them, those held out too."""

    def fingerprint(self) -> str:
        """Changes when what `load` returns does."""


class Augmentation(NamedTuple):
    """What is changed alike in the target and in its reference."""

    color: NonNegative  # how far channels are mixed and scaled; 0: not
    mirror: bool  # left and right change places in half of the examples


class Views(LightningDataModule):
    """Examples without end: a target view and, if `references`, another view of the same object.

    source: where the objects come from; one name in ten is held out, for validation.
    light: none for pictures without one (album.relief), which a subclass lights.
    favour: how many times as often as a solid of revolution, which tells little of poses, another is drawn.
    validation: how many held-out examples a validation sees, the same ones each time.
    """

    def __init__(
        self,
        *,
        source: Source,
        cameras: Cameras,
        variety: Variety,
        light: Light | None,
        favour: Count,
        augmentation: Augmentation,
        references: bool,
        batch_size: Count,
        validation: Whole,
        seed: Seed,
        cache: str | None,
    ) -> None:
        super().__init__()
        self.source, self.cameras, self.variety, self.light = source, cameras, variety, light
        self.favour = favour
        self.augmentation, self.references, self.batch_size = augmentation, references, batch_size
        self.validation, self.seed, self.folder = validation, seed, cache
        self.training: Album | None = None
        self.held_out: Album | None = None

    def prepare_data(self) -> None:
        """Read and draw once, in one process of each machine."""
        self._albums()

    def setup(self, stage: str) -> None:
        """Open what `prepare_data` drew."""
        if self.training is None:
            self.training, self.held_out = self._albums()
            if self.favour > 1:
                rows = self.training.rows
                others = rows[lopsided(self.training) > ROUND]
                rows = np.concatenate([rows, np.tile(others, self.favour - 1)])
                self.training = self.training._replace(rows=rows)

    def train_dataloader(self) -> DataLoader:
        """The stream from the trainer's step on."""
        return endless(self.example, self.trainer)

    def val_dataloader(self) -> DataLoader | list:
        """The fixed examples of held-out objects."""
        examples = self.validation_examples()
        return DataLoader(examples, batch_size=None) if examples else []  # type: ignore[arg-type]

    def validation_examples(self) -> list[Example]:
        """Batches of held-out objects, not augmented; none if no object is held out."""
        if self.held_out is None:
            return []
        starts = range(0, self.validation, self.batch_size)
        sizes = [min(self.batch_size, self.validation - start) for start in starts]
        rng, still = np.random.default_rng(self.seed), Augmentation(color=0.0, mirror=False)
        return [self._example(rng, step, self.held_out, size, still) for step, size in enumerate(sizes)]

    def example(self, step: int, share: int) -> Example:
        """What a share of `step` sees in training."""
        assert self.training is not None
        rng = np.random.default_rng([self.seed, step, share])
        return self._example(rng, step, self.training, self.batch_size, self.augmentation)

    def _albums(self) -> tuple[Album, Album | None]:
        objects, folder = self.source.load(), cache.folder(self.folder)
        kept = [o for o in objects if held_out(o.name)]
        seen = [o for o in objects if not held_out(o.name)]
        if not seen:
            raise ValueError(
                f"no object to train on: all {len(kept)} are held out by name; add or rename some"
            )
        log.info("%d objects to train on, %d held out by name", len(seen), len(kept))
        source = self.source.fingerprint()
        training = album(seen, self.cameras, self.variety, self.light, folder=folder, source=source)
        if not kept:
            log.warning("no object is held out (one name in ten is, by chance): there will be no validation")
            return training, None
        plain = Variety(variants=1, views=VALIDATION_VIEWS, stretch=1.0, seed=self.variety.seed)
        return training, album(kept, self.cameras, plain, self.light, folder=folder, source=source)

    def _example(
        self, rng: np.random.Generator, step: int, book: Album, count: int, augmentation: Augmentation
    ) -> Example:
        index = book.rows[rng.integers(len(book.rows), size=count)]
        first = rng.integers(book.poses.shape[1], size=count)
        other = (first + rng.integers(1, book.poses.shape[1], size=count)) % book.poses.shape[1]
        flipped = torch.from_numpy(rng.random(count) < 0.5) & augmentation.mirror
        matrix = color_matrices(rng, count, augmentation.color)
        target = self._view(book, index, first, flipped, matrix)
        reference = self._view(book, index, other, flipped, matrix) if self.references else None
        return Example(step, [book.names[i] for i in index], target, reference)

    def _view(
        self, book: Album, index: np.ndarray, view: np.ndarray, flipped: Tensor, matrix: Tensor
    ) -> View:
        picture = torch.from_numpy(book.pictures[index, view]).float() / 255
        pose = torch.from_numpy(book.poses[index, view])
        picture = torch.where(flipped[:, None, None, None], picture.flip(2), picture)
        sign = torch.where(flipped, -1.0, 1.0)
        pose = torch.stack([pose[:, 0] * sign, pose[:, 1], pose[:, 2]], dim=-1)
        rgb = torch.einsum("bhwi,bij->bhwj", picture[..., :3], matrix).clamp(0, 1)
        return View(camera(pose, self.cameras), rgb, picture[..., 3:])


def lopsided(book: Album) -> Float[np.ndarray, " R"]:
    """How much of the outlines of each of `rows` has no counterpart across the picture's middle, 0 to 1."""
    found = []
    for row in book.rows:
        alpha = book.pictures[row, :, ::2, ::2, 3].astype(np.float32)
        found.append(np.abs(alpha - alpha[..., ::-1]).sum() / (2 * alpha.sum()))
    return np.asarray(found)


def color_matrices(rng: np.random.Generator, count: int, strength: float) -> Float[Tensor, "B 3 3"]:
    """Random mixtures of the channels that keep grey grey, then a gain for each channel."""
    amount = strength * rng.random((count, 1, 1))
    mixture = rng.normal(size=(count, 3, 3))
    mixture -= mixture.mean(axis=1, keepdims=True)  # columns sum to 0
    gain = np.exp(0.3 * amount * rng.normal(size=(count, 1, 3)))
    return torch.from_numpy(((np.eye(3) + 0.5 * amount * mixture) * gain).astype(np.float32))
