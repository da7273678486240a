"""Batches for fitting a scene to posed pictures: of a mesh, drawn from all around, or of a dataset's folder.

What a step sees is a function of (seed, step, rank), so a resumed run goes on with the same stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from threestudio_like.data import named, picture, transforms
from threestudio_like.data.cameras import Pose
from threestudio_like.data.draw import Light, draw
from threestudio_like.data.stream import endless
from threestudio_like.ops.camera import chosen, crop, orbit, resized, split
from threestudio_like.ranges import Count, Latitudes, Opening, Positive, Seed, Share, Side
from threestudio_like.records import Camera, Mesh, Posed, View

BATCH = 8  # pictures drawn at once
SHOWN = 2  # unseen pictures that a batch carries, to be looked at
GOLDEN = math.pi * (3 - math.sqrt(5))  # the turn of a Fibonacci spiral


class Cameras(NamedTuple):
    """How a mesh is photographed; degrees."""

    train: Count
    test: Count
    elevation: Latitudes
    distance: Positive
    fov_y: Opening


class PosedViews(LightningDataModule):
    """Pictures with known cameras; some are kept for testing.

    object: a mesh's file or name; dataset: a folder with transforms.json instead. One of the two.
    cameras, light: how the mesh is photographed. pose: the camera of the picture that reports show.
    size: of the pictures' longer side, pixels. batch_size: pictures, or windows, in a step.
    window: pixels a side of the windows (null: whole pictures).
    focus: share of the windows that are near the object; the others are anywhere in their picture.
    """

    def __init__(
        self,
        *,
        object: str | None,
        dataset: str | None,
        cameras: Cameras,
        light: Light,
        pose: Pose,
        size: Side,
        batch_size: Count,
        window: Count | None,
        focus: Share,
        seed: Seed,
    ) -> None:
        super().__init__()
        if (object is None) == (dataset is None):
            raise ValueError(
                "give a mesh (object=duck.glb) or a folder of posed pictures (dataset=lego), one of the two"
            )
        self.object, self.dataset = object, dataset
        self.cameras, self.light, self.pose = cameras, light, pose
        self.size, self.batch_size, self.window, self.focus = size, batch_size, window, focus
        self.seed = seed

    def prepare(self) -> None:
        """Read everything now, so that a mistake is known before anything heavy begins."""
        seen = self.views[0]
        if self.batch_size > len(seen.rgb):
            raise ValueError(f"batch_size: {self.batch_size} of {len(seen.rgb)} pictures")
        if self.window is not None and self.window > min(seen.rgb.shape[1:3]):
            raise ValueError(f"window: {self.window} pixels of pictures of {tuple(seen.rgb.shape[1:3])}")

    @cached_property
    def truth(self) -> Mesh | None:
        """The mesh that is photographed; none for a dataset."""
        return None if self.object is None else named.read(self.object)

    @cached_property
    def views(self) -> tuple[View, View]:
        """(to fit, to test on)."""
        if self.truth is None:
            return transforms.read(Path(str(self.dataset)).expanduser(), self.size)
        spirals = (
            spiral(self.cameras, count, turn, self.size) for turn, count in enumerate(self.cameras[:2])
        )
        train, test = (photographed(self.truth, camera, self.light) for camera in spirals)
        return train, test

    @property
    def pictures(self) -> View:
        """What is fitted to."""
        return self.views[0]

    @property
    def unseen(self) -> View:
        """What the fit is tested on."""
        return self.views[1]

    def reference(self, side: int) -> View:
        """A picture of `side` pixels that stands for all of them: of a dataset the first unseen one."""
        if self.truth is not None:
            return draw(self.truth, self.pose.camera(side), self.light)
        first = some(self.unseen, torch.tensor([0]))
        height, width = first.rgb.shape[1:3]
        across = max(height, width)
        top, left = (across - height) // 2, (across - width) // 2
        pixels = torch.cat([first.rgb, first.alpha], dim=-1)[0]
        square = F.pad(pixels, (0, 0, left, across - width - left, top, across - height - top))
        pixels = picture.resized(square, side, side)[None]
        camera = resized(crop(first.camera, -top, -left, across, across), side, side)
        return View(camera, pixels[..., :3], pixels[..., 3:])

    def batch(self, step: int, share: int) -> Posed:
        """What a share of step `step` sees."""
        seen, unseen = self.views
        rng = np.random.default_rng([self.seed, step, share])
        index = torch.from_numpy(rng.permutation(len(seen.rgb))[: self.batch_size])
        view = some(seen, index)
        if self.window is not None:
            view = windows(view, *self.corners(rng, index), self.window)
        return Posed(step, view, some(unseen, torch.arange(min(SHOWN, len(unseen.rgb)))))

    def corners(
        self, rng: np.random.Generator, index: Int[Tensor, " B"]
    ) -> tuple[Int[Tensor, " B"], Int[Tensor, " B"]]:
        """Top and left of a random window of each picture."""
        assert self.window is not None
        boxes, near = self.boxes[index], torch.from_numpy(rng.random(len(index)) < self.focus)
        ends = torch.tensor(self.views[0].rgb.shape[1:3]) - self.window
        low = torch.where(near[:, None], boxes[:, 0] - self.window // 2, 0)
        high = torch.where(near[:, None], boxes[:, 1] - self.window // 2, ends)
        share = torch.from_numpy(rng.random((len(index), 2)))
        corner = (low + share * (high - low + 1)).floor().long()
        return tuple(torch.minimum(corner.clamp(min=0), ends).unbind(-1))  # type: ignore[return-value]

    @cached_property
    def boxes(self) -> Int[Tensor, "N 2 2"]:
        """First and last row and column (the second axis: which of both) of the object in each picture."""
        return torch.stack([bounds(alpha[..., 0]) for alpha in self.views[0].alpha])

    def train_dataloader(self) -> DataLoader:
        """The stream from the trainer's step on."""
        return endless(self.batch, self.trainer)


def spiral(cameras: Cameras, count: int, turn: int, side: int) -> Camera:
    """`count` cameras evenly over the sphere between two elevations; another `turn` gives others."""
    index = torch.arange(count) + 0.5
    low, high = (math.sin(math.radians(angle)) for angle in cameras.elevation)
    return orbit(
        azimuth=index * GOLDEN + turn * math.pi / 2,
        elevation=torch.asin(low + (high - low) * index / count),
        distance=torch.full((count,), float(cameras.distance)),
        fov_y=torch.full((count,), math.radians(cameras.fov_y)),
        height=side,
        width=side,
    )


def photographed(mesh: Mesh, camera: Camera, light: Light) -> View:
    """Drawn a few at a time, to bound the memory."""
    parts = [draw(mesh, part, light) for part in split(camera, BATCH)]
    return View(
        camera, *(torch.cat(pictures) for pictures in zip(*(part[1:] for part in parts), strict=True))
    )


def some(view: View, index: Int[Tensor, " n"]) -> View:
    """Pictures in the order of `index`."""
    return replaced(view, chosen(view.camera, index), lambda pictures: pictures[index])


def windows(view: View, top: Int[Tensor, " B"], left: Int[Tensor, " B"], side: int) -> View:
    """A square of each picture."""
    rows = top[:, None, None] + torch.arange(side)[:, None]
    columns = left[:, None, None] + torch.arange(side)
    which = torch.arange(len(top))[:, None, None]
    camera = crop(view.camera, top, left, side, side)
    return replaced(view, camera, lambda pictures: pictures[which, rows, columns])


def replaced(view: View, camera: Camera, change: Callable[[Tensor], Tensor]) -> View:
    """With another camera, and all that was seen changed alike."""
    changed: list[Any] = [None if pictures is None else change(pictures) for pictures in view[1:]]
    return View(camera, *changed)


def bounds(alpha: Float[Tensor, "H W"]) -> Int[Tensor, "2 2"]:
    """First and last row and column where there is something; the whole picture if there is nothing."""
    hit = torch.nonzero(alpha > 0)
    if len(hit) == 0:
        return torch.tensor([[0, 0], [alpha.shape[0] - 1, alpha.shape[1] - 1]])
    return torch.stack([hit.amin(0), hit.amax(0)])
