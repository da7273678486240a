"""Multiresolution hash encoding (Mueller et al. 2022, section 3).

Level l is a grid of resolutions[l] cells a side over [0, 1]^3. A level whose (resolution + 1)^3 vertices fit
the table is stored densely, x fastest, the others by eq. 4; points outside the box are clamped to it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.ops.dispatch import op

PRIMES = (1, 2654435761, 805459861)  # eq. 4; the first is 1, so that neighbours in x share cache lines
CORNERS = tuple((c & 1, c >> 1 & 1, c >> 2) for c in range(8))


def growing_resolutions(num_levels: int, base: int, finest: int) -> tuple[int, ...]:
    """Grid resolutions in a geometric progression from `base` to `finest` (eqs. 2 and 3)."""
    if num_levels == 1:
        return (base,)
    growth = (finest / base) ** (1 / (num_levels - 1))
    return tuple(int(base * growth**level + 1e-6) for level in range(num_levels))


def corner_rows(corners: Int[Tensor, "N 8 3"], resolution: int, table_size: int) -> Int[Tensor, "N 8"]:
    """Rows of the table that hold the given grid vertices."""
    x, y, z = corners.unbind(-1)
    if (resolution + 1) ** 3 <= table_size:
        return x + (resolution + 1) * (y + (resolution + 1) * z)
    return (x * PRIMES[0] ^ y * PRIMES[1] ^ z * PRIMES[2]) & (table_size - 1)


@op
def hashgrid(
    points: Float[Tensor, "N 3"], table: Float[Tensor, "L T F"], resolutions: tuple[int, ...]
) -> Float[Tensor, "N LF"]:
    """Features of `points` in [0, 1]^3, level after level; gradients to both. T is a power of two."""
    table_size = table.shape[1]
    assert len(resolutions) == len(table) and table_size & (table_size - 1) == 0, (resolutions, table.shape)
    offsets = torch.tensor(CORNERS, device=points.device)
    inside = points.clamp(0, 1)
    features = []
    for rows, resolution in zip(table, resolutions, strict=True):
        scaled = inside * resolution
        cell = scaled.detach().floor().long().clamp(0, resolution - 1)
        fraction = (scaled - cell)[:, None]
        weights = torch.where(offsets == 1, fraction, 1 - fraction)
        weights = weights[..., 0] * weights[..., 1] * weights[..., 2]
        index = corner_rows(cell[:, None] + offsets, resolution, table_size)
        features.append((weights[..., None] * rows[index]).sum(1))
    return torch.cat(features, dim=-1)
