"""Random cameras around the object, a function of (seed, step): a resumed run needs no generator's state.

The ranges open from the reference camera's pose over `progressive_until` steps (DreamCraft3D).
Degrees here, at the user's edge; radians in the cameras.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from threestudio_like.ops.camera import orbit, withdrawn
from threestudio_like.ranges import (
    MAX_SIDE,
    Bounds,
    Count,
    Latitude,
    Latitudes,
    Opening,
    Openings,
    Positive,
    Positives,
    Share,
    Whole,
)
from threestudio_like.records import Camera


class Pose(NamedTuple):
    """One camera on a sphere around the origin; degrees."""

    azimuth: float
    elevation: Latitude
    distance: Positive
    fov_y: Opening

    def seeing(self, points: Float[Tensor, "N 3"], share: float) -> Pose:
        """This camera where it stands, or as far back as it must for points to be in this share of a side."""
        narrow = 2 * math.degrees(math.atan(share * math.tan(math.radians(self.fov_y) / 2)))
        camera = self._replace(fov_y=narrow).camera(1)
        back = (withdrawn(camera, points).c2w - camera.c2w)[0, :3, 3].norm()
        return self._replace(distance=self.distance + float(back))

    def camera(self, side: int) -> Camera:
        """As a square picture of `side` pixels, B = 1."""
        numbers = torch.tensor([[self.azimuth, self.elevation, self.fov_y]]).deg2rad()
        azimuth, elevation, fov_y = numbers.unbind(-1)
        distance = torch.tensor([self.distance])
        return orbit(
            azimuth=azimuth, elevation=elevation, distance=distance, fov_y=fov_y, height=side, width=side
        )


class Cameras:
    """Callable: (seed, step, share, start) to a batch of cameras.

    azimuth: range relative to the start's azimuth. distance: range of shares of the start's distance.
    elevation, fov_y: ranges.
    uniform_share: how often the elevation is uniform in degrees; otherwise it is uniform on the sphere.
    progressive_until: r = min(1, step / (progressive_until + 1)) opens both angles from the start's.
    resolution: pixels a side, as a schedule.
    """

    def __init__(
        self,
        *,
        azimuth: Bounds,
        elevation: Latitudes,
        distance: Positives,
        fov_y: Openings,
        uniform_share: Share,
        progressive_until: Whole,
        resolution: Callable[[int], float],
        batch_size: Count,
    ) -> None:
        ranges = {"azimuth": azimuth, "elevation": elevation, "distance": distance, "fov_y": fov_y}
        for name, bounds in ranges.items():
            if len(bounds) != 2 or bounds[0] > bounds[1]:
                raise ValueError(f"cameras.{name}: expected [low, high], got {list(bounds)}")
        (self.azimuth, self.elevation, self.distance, self.fov_y) = (
            (float(low), float(high)) for low, high in ranges.values()
        )
        self.uniform_share = uniform_share
        self.progressive_until = progressive_until
        pixels(resolution, 0)
        self.resolution = resolution
        self.batch_size = batch_size

    def __call__(self, seed: int, step: int, share: int, start: Pose) -> Camera:
        """The cameras of one share of a step."""
        rng = np.random.default_rng([seed, step, share])
        opened = min(1.0, step / (self.progressive_until + 1))
        count, side = self.batch_size, pixels(self.resolution, step)
        low, high = (start.elevation + opened * (bound - start.elevation) for bound in self.elevation)
        elevation = self._elevations(rng, low, high)
        azimuth = start.azimuth + opened * rng.uniform(*self.azimuth, count)
        return orbit(
            azimuth=_radians(azimuth),
            elevation=_radians(elevation),
            distance=torch.from_numpy(start.distance * rng.uniform(*self.distance, count)).float(),
            fov_y=_radians(rng.uniform(*self.fov_y, count)),
            height=side,
            width=side,
        )

    def _elevations(self, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
        """Uniform in degrees, or (one draw decides for the batch) uniform on the sphere: in the sine."""
        if rng.uniform() < self.uniform_share:
            return rng.uniform(low, high, self.batch_size)
        sines = rng.uniform(math.sin(math.radians(low)), math.sin(math.radians(high)), self.batch_size)
        return np.degrees(np.arcsin(sines))


def pixels(resolution: Callable[[int], float], step: int) -> int:
    """A picture's side at a step, whole as it begins, and rounded on its way; ValueError if it is none."""
    value = resolution(step)
    if not 1 <= round(value) <= MAX_SIDE or (step == 0 and value != round(value)):
        expected = f"expected a whole number of pixels a side from 1 to {MAX_SIDE}"
        raise ValueError(f"resolution: {expected}, got {value:g} at step {step}")
    return round(value)


def _radians(degrees: np.ndarray) -> Float[Tensor, " B"]:
    return torch.from_numpy(np.radians(degrees)).float()
