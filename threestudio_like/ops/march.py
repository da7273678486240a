"""Where along rays to look: the box, stratified distances, inverse-CDF sampling (Mildenhall et al. 2020).

Distances are in units of the rays' directions and ascend along the last axis; none carries a gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

PARALLEL = (
    1e-12  # a direction's component that is smaller counts as this: the slab's planes are then far away
)


def intersect_box(
    origins: Float[Tensor, "N 3"], directions: Float[Tensor, "N 3"], radius: float
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"], Bool[Tensor, " N"]]:
    """(near, far, hit) with the box [-radius, radius]^3, near >= 0; near = far = 0 where it is missed."""
    tiny = torch.where(directions < 0, -PARALLEL, PARALLEL).to(directions)
    safe = torch.where(directions.abs() < PARALLEL, tiny, directions)
    one, other = (-radius - origins) / safe, (radius - origins) / safe
    near = torch.minimum(one, other).amax(-1).clamp_min(0)
    far = torch.maximum(one, other).amin(-1)
    hit = far > near
    return torch.where(hit, near, 0), torch.where(hit, far, 0), hit


def stratified(
    near: Float[Tensor, " N"],
    far: Float[Tensor, " N"],
    count: int,
    *,
    jitter: bool,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "N S"]:
    """One distance in each of `count` equal parts of [near, far]: anywhere in it, or in the middle."""
    return near[:, None] + (far - near)[:, None] * _levels(near, count, jitter, generator)


@torch.no_grad()
def importance(
    edges: Float[Tensor, "N E"],
    weights: Float[Tensor, "N E-1"],
    count: int,
    *,
    jitter: bool = False,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "N S"]:
    """`count` distances whose density is piecewise constant, `weights` in the bins between `edges`.

    They are the inverse CDF of levels one in each of `count` equal parts of [0, 1]. Where all weights of
    a ray are 0 the bins count alike.
    """
    total = weights.sum(-1, keepdim=True)
    weights = torch.where(total == 0, 1.0, weights)  # what is not a number stays one
    cdf = F.pad(weights.cumsum(-1), (1, 0))
    cdf = cdf / cdf[:, -1:]
    levels = _levels(weights[:, 0], count, jitter, generator).expand(len(weights), count).contiguous()
    bins = (torch.searchsorted(cdf, levels, right=True) - 1).clamp(0, weights.shape[1] - 1)
    low = cdf.gather(1, bins)
    share = ((levels - low) / (cdf.gather(1, bins + 1) - low)).nan_to_num(0).clamp(0, 1)
    return torch.lerp(edges.gather(1, bins), edges.gather(1, bins + 1), share)


def merge(first: Float[Tensor, "N A"], second: Float[Tensor, "N B"]) -> Float[Tensor, "N A+B"]:
    """Both sets of distances in one ascending row."""
    return torch.cat([first, second], dim=-1).sort(dim=-1).values


def _levels(
    like: Float[Tensor, " N"], count: int, jitter: bool, generator: torch.Generator | None
) -> Float[Tensor, "_ S"]:
    """Ascending levels in (0, 1), one in each of `count` equal parts: a row for each ray, or one for all."""
    parts = torch.arange(count, dtype=like.dtype, device=like.device)[None]
    if not jitter:
        return (parts + 0.5) / count
    offsets = torch.rand(len(like), count, generator=generator, dtype=like.dtype, device=like.device)
    return (parts + offsets) / count
