"""Which cells of the box may hold something, and rays that look only there (Mueller et al. 2022, appendix E).

A grid [R R R] over [-radius, radius]^3 is indexed z, y, x. It keeps for each cell the largest opacity found
of late; rays are cut into intervals of one length, and those whose middle is in an empty cell are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from threestudio_like.ops.dispatch import op


class Packed(NamedTuple):
    """S intervals of rays, ray after ray and along each outward; distances carry no gradient."""

    ray: Int[Tensor, " S"]
    start: Float[Tensor, " S"]
    end: Float[Tensor, " S"]

    @property
    def middle(self) -> Float[Tensor, " S"]:
        """Where to evaluate a field."""
        return 0.5 * (self.start + self.end)

    @property
    def length(self) -> Float[Tensor, " S"]:
        """What to multiply its density by."""
        return self.end - self.start


@op
@torch.no_grad()
def march_occupied(
    origins: Float[Tensor, "N 3"],
    directions: Float[Tensor, "N 3"],
    near: Float[Tensor, " N"],
    far: Float[Tensor, " N"],
    occupied: Bool[Tensor, "R R R"],
    radius: float,
    step: float,
    phase: Float[Tensor, " N"],
) -> Packed:
    """The intervals of [near, far] whose middles are in occupied cells; points outside count as on the rim.

    Interval k of a ray is [k - phase, k + 1 - phase] step from near on, cut to [near, far], so that all
    together cover it. `phase` is in [0, 1): 0, or random where the lattice of intervals must not show.
    """
    spans = torch.where(far > near, (far - near) / step + phase, 0.0)
    number = torch.arange(int(spans.amax().ceil()) + 1 if len(spans) else 0, device=near.device)
    first = near[:, None] + (number - phase[:, None]) * step
    start = torch.maximum(first, near[:, None])
    end = torch.minimum(near[:, None] + (number + 1 - phase[:, None]) * step, far[:, None])
    points = origins[:, None] + (0.5 * (start + end))[..., None] * directions[:, None]
    x, y, z = cells_of(points, radius, len(occupied)).unbind(-1)
    kept = (end > start) & occupied[z, y, x]
    return Packed(torch.nonzero(kept)[:, 0], start[kept], end[kept])


def cells_of(points: Float[Tensor, "*n 3"], radius: float, resolution: int) -> Int[Tensor, "*n 3"]:
    """The cells (x, y, z) that hold `points`; those outside the box get the nearest."""
    return ((points + radius) * (resolution / (2 * radius))).floor().long().clamp(0, resolution - 1)


def random_points(
    cells: Int[Tensor, " K"], radius: float, resolution: int, generator: torch.Generator | None = None
) -> Float[Tensor, "K 3"]:
    """One uniformly random point in each of the given cells, which are numbered x fastest."""
    x, y, z = cells % resolution, cells // resolution % resolution, cells // resolution**2
    low = torch.stack([x, y, z], dim=-1).to(torch.get_default_dtype())
    inside = torch.rand(low.shape, generator=generator, device=cells.device)
    return (low + inside) * (2 * radius / resolution) - radius


def cells_to_refresh(
    occupied: Bool[Tensor, "R R R"], count: int, generator: torch.Generator | None = None
) -> Int[Tensor, " K"]:
    """`count` cells drawn from all, and as many from the occupied ones, all of these where they are fewer.

    Late in training most cells are empty for good: the others deserve half of the evaluations.
    """
    device = occupied.device
    anywhere = torch.randint(occupied.numel(), (count,), generator=generator, device=device)
    full = torch.nonzero(occupied.reshape(-1))[:, 0]
    if len(full) > count:
        full = full[torch.randint(len(full), (count,), generator=generator, device=device)]
    return torch.unique(torch.cat([anywhere, full]))


def refreshed(
    opacity: Float[Tensor, "R R R"], cells: Int[Tensor, " K"], found: Float[Tensor, " K"], decay: float
) -> Float[Tensor, "R R R"]:
    """The grid after `cells`, each at most once, were found to have opacities (density times step) `found`.

    Old values decay, and the larger one of old and new stays: a surface once seen is not soon forgotten.
    """
    flat = opacity.reshape(-1)
    return flat.index_put((cells,), torch.maximum(flat[cells] * decay, found)).view_as(opacity)


def occupied_cells(opacity: Float[Tensor, "R R R"], threshold: float) -> Bool[Tensor, "R R R"]:
    """Those above `threshold`, or above half the mean where that is lower.

    So a field that is still faint everywhere, or 0, is looked at everywhere.
    """
    return opacity >= (0.5 * opacity.mean()).clamp(max=threshold)
