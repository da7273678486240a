"""Points in the plane as pictures of one pixel: red is x, green is y, from -1 to 1; blue and alpha are 1.

mixture: of two Gaussians, 4 : 1, that of Song and Ermon 2019 (section 3.2.2; their +-5 is 0.5 here); moons:
two half circles that reach into each other; rings: two circles around 0.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from threestudio_like.data.stream import endless
from threestudio_like.ops.camera import orbit
from threestudio_like.ranges import Count, Seed, Whole
from threestudio_like.records import Example, View

Name = Literal["mixture", "moons", "rings"]
MEANS, SPREAD, SHARE = ((0.5, 0.5), (-0.5, -0.5)), 0.1, 0.8  # of the mixture: SHARE is the first one's
WIDTH = 0.03  # of the lines of moons and rings


def points(name: Name, count: int, rng: np.random.Generator) -> Float[np.ndarray, "N 2"]:
    """`count` of them."""
    if name == "mixture":
        chosen = np.where(rng.random((count, 1)) < SHARE, *np.array(MEANS))
        return chosen + SPREAD * rng.normal(size=(count, 2))
    first, angle = rng.random(count) < 0.5, rng.uniform(0, math.pi, count)
    if name == "moons":
        sign = np.where(first, 1.0, -1.0)
        line = np.stack([0.5 * np.cos(angle) - 0.25, 0.5 * np.sin(angle) - 0.125], axis=-1) * sign[:, None]
    else:
        radius = np.where(first, 0.8, 0.4)
        line = radius[:, None] * np.stack([np.cos(2 * angle), np.sin(2 * angle)], axis=-1)
    return line + WIDTH * rng.normal(size=(count, 2))


class Toy(LightningDataModule):
    """Examples without end, of points of one distribution; prompts name it.

    validation: how many points a validation sees, the same ones each time.
    """

    def __init__(self, *, name: Name, batch_size: Count, validation: Whole, seed: Seed) -> None:
        super().__init__()
        self.distribution, self.batch_size = name, batch_size
        self.validation, self.seed = validation, seed

    def train_dataloader(self) -> DataLoader:
        """The stream from the trainer's step on."""

        def batch(step: int, share: int) -> Example:
            rng = np.random.default_rng([self.seed, 1, step, share])
            return self.example(step, self.batch_size, rng)

        return endless(batch, self.trainer)

    def val_dataloader(self) -> DataLoader:
        """One batch that is never trained on."""
        rng = np.random.default_rng([self.seed, 0])
        held_out = [self.example(0, self.validation, rng)]
        return DataLoader(held_out, batch_size=None)  # type: ignore[arg-type]

    def example(self, step: int, count: int, rng: np.random.Generator) -> Example:
        """`count` points, as pictures."""
        place = torch.from_numpy(points(self.distribution, count, rng).astype(np.float32))
        rgb = torch.cat([(place + 1) / 2, torch.ones(count, 1)], dim=1).view(count, 1, 1, 3)
        zero = torch.zeros(count)
        camera = orbit(azimuth=zero, elevation=zero, distance=zero + 1, fov_y=zero + 1, height=1, width=1)
        return Example(step, [self.distribution] * count, View(camera, rgb, torch.ones(count, 1, 1, 1)), None)
