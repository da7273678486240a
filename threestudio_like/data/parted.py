"""A split by name that parts shapes too: objects without those that are held out under another name.

A catalogue sells one model under several names and in several colours. Shapes are compared by how near their
surface is along the pixels of a few pictures; colours do not count. The held-out ones stay as they are.
"""

from __future__ import annotations

import logging
import math

import torch
from jaxtyping import Float
from torch import Tensor

from threestudio_like import cache
from threestudio_like.data.draw import Light, draw
from threestudio_like.data.objects import Object, Objects, held_out, restore, store
from threestudio_like.ops.camera import orbit
from threestudio_like.ranges import Count, NonNegative, Side
from threestudio_like.records import Camera, Mesh

log = logging.getLogger(__name__)
FORMAT = 1  # of the comparison; a change of it must count it up
DISTANCE, REACH = 1.6, 0.9  # of the cameras; half of the depth that an object of side 1 can take
DARK = Light(direction=[0.0, 0.0, 1.0], ambient=1.0, diffuse=0.0)


class Parted:
    """The objects under `path` (see Objects) less the twins of held-out ones.

    views: pictures that shapes are compared in, around the object and alternately from above and below.
    side: of a picture, pixels. twin: decibels from which two shapes are one. cache: null: the user's.
    """

    def __init__(self, *, path: str, views: Count, side: Side, twin: NonNegative, cache: str | None) -> None:
        self.source = Objects(path=path, cache=cache)
        self.views, self.side, self.twin, self.folder = views, side, twin, cache

    def fingerprint(self) -> str:
        """Changes with the source, and with what counts as a twin."""
        return cache.digest(FORMAT, self.source.fingerprint(), self.views, self.side, self.twin)

    def load(self) -> list[Object]:
        """All held-out objects, and those to train on that look like none of them."""
        file = cache.folder(self.folder) / f"parted-{self.fingerprint()}.npz"
        if not file.exists():
            store(file, self.parted(self.source.load()))
        return restore(file)

    def parted(self, objects: list[Object]) -> list[Object]:
        """Compare each object to train on with each that is held out."""
        log.info("comparing the shapes of %d objects (once)", len(objects))
        kept = [each for each in objects if held_out(each.name)]
        shapes = torch.stack([self.nearness(each.mesh) for each in kept]) if kept else None
        found = []
        for each in objects:
            twin = None if shapes is None or held_out(each.name) else self.twin_of(each.mesh, shapes)
            if twin is None:
                found.append(each)
            else:
                log.info("not trained on: %s, held out as %s", each.name, kept[twin].name)
        return found

    def twin_of(self, mesh: Mesh, shapes: Float[Tensor, "N K S S"]) -> int | None:
        """Which of the shapes it is, if any."""
        errors = (shapes - self.nearness(mesh)).square().mean(dim=(1, 2, 3))
        nearest = int(errors.argmin())
        return nearest if float(errors[nearest]) <= 10 ** (-self.twin / 10) else None

    def nearness(self, mesh: Mesh) -> Float[Tensor, "K S S"]:
        """From 0 (nothing, or as far as can be) to 1 (as near as can be)."""
        view = draw(mesh, self.cameras(), DARK)
        assert view.depth is not None
        near = view.alpha * (DISTANCE + REACH - view.depth) / (2 * REACH)
        return near[..., 0].clamp(0, 1)

    def cameras(self) -> Camera:
        """Where shapes are looked at from."""
        index = torch.arange(self.views).float()
        return orbit(
            azimuth=2 * math.pi * (index + 0.5) / self.views,
            elevation=0.5 * (-1) ** index,
            distance=torch.full((self.views,), DISTANCE),
            fov_y=torch.full((self.views,), math.radians(60.0)),
            height=self.side,
            width=self.side,
        )
