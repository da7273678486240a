"""The point itself, and its sines and cosines at octaves of frequency (Mildenhall et al. 2020, eq. 4)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Frequency(nn.Module):
    """Nothing to train.

    Args:
        num_bands: octaves; the first has half a period in the box.
    """

    def __init__(self, *, num_bands: int) -> None:
        super().__init__()
        self.num_bands = num_bands
        self.num_outputs = 3 + 6 * num_bands

    def forward(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """Of points in [0, 1]^3: x y z, then sines and cosines band after band."""
        octaves = math.pi * 2.0 ** torch.arange(self.num_bands, dtype=points.dtype, device=points.device)
        phases = octaves[:, None] * (2 * points[:, None] - 1)
        waves = torch.stack([torch.sin(phases), torch.cos(phases)], dim=2)
        return torch.cat([points, waves.flatten(1)], dim=-1)
