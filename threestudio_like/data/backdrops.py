"""What may stand behind an object: random pictures to train and to test a matte on.

Noise of several scales around one colour, a floor of another colour under a random horizon in half of them,
and other objects at the sides in a third.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.records import View

SCALES = (2, 4, 8, 16, 32)  # cells a side of each layer of noise


def backdrops(rng: np.random.Generator, others: View) -> Float[Tensor, "B H W 3"]:
    """One for each picture of `others`; these are what stands at the sides, each before the next one's."""
    count, height, width = others.rgb.shape[:3]
    picture = noise(rng, count, height, width)
    horizon = torch.from_numpy(rng.uniform(0.35, 1.0, (count, 1, 1, 1))).float() * height
    floored = torch.from_numpy(rng.random((count, 1, 1, 1)) < 0.5)
    below = torch.arange(height)[None, :, None, None] > horizon
    picture = torch.where(floored & below, noise(rng, count, height, width), picture)
    aside = torch.from_numpy(rng.random((count, 1, 1, 1)) < 1 / 3)
    side = width // 2 * (1 if rng.random() < 0.5 else -1)  # the middle of the other is at this one's edge
    rgb, alpha = (_moved(part.roll(1, 0), side) for part in (others.rgb, others.alpha))
    alpha = alpha * aside
    return (rgb * alpha + picture * (1 - alpha)).clamp(0, 1)


def noise(rng: np.random.Generator, count: int, height: int, width: int) -> Float[Tensor, "B H W 3"]:
    """Layers of smooth noise around a random colour; how strong each layer is, is random too."""
    color = torch.from_numpy(rng.random((count, 3, 1, 1))).float()
    total = (0.4 * color + 0.6 * color.mean(1, keepdim=True)).expand(-1, -1, height, width)
    for cells in SCALES:
        strength = torch.from_numpy(rng.exponential(0.08, (count, 1, 1, 1))).float()
        layer = torch.from_numpy(rng.normal(size=(count, 3, cells, cells))).float()
        layer = layer.mean(1, keepdim=True) + 0.2 * layer  # mostly in lightness
        total = total + strength * F.interpolate(layer, (height, width), mode="bicubic", align_corners=False)
    return total.clamp(0, 1).permute(0, 2, 3, 1)


def _moved(part: Float[Tensor, "B H W C"], columns: int) -> Float[Tensor, "B H W C"]:
    """To the right by so many columns; what comes in is 0."""
    moved = torch.zeros_like(part)
    if columns > 0:
        moved[:, :, columns:] = part[:, :, :-columns]
    else:
        moved[:, :, :columns] = part[:, :, -columns:]
    return moved
