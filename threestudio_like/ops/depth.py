"""Depth without its scale and shift, which one picture does not tell (Ranftl et al. 2020, MiDaS, section 5).

Means are weighted by a mask; a picture without any mask has relative depth 0.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def relative(depth: Float[Tensor, "B H W 1"], mask: Float[Tensor, "B H W 1"]) -> Float[Tensor, "B H W 1"]:
    """Eq. 5 with the mean in place of the median: less its mean, over its mean deviation; 0 off the mask."""
    share = _share(mask)
    centred = (depth - _sum(depth * share)) * (mask > 0)
    return centred / _sum(centred.abs() * share).clamp(min=1e-6)


def aligned(
    depth: Float[Tensor, "B H W 1"], truth: Float[Tensor, "B H W 1"], mask: Float[Tensor, "B H W 1"]
) -> Float[Tensor, "B H W 1"]:
    """s depth + t with the s >= 0 and t nearest to the truth in least squares (eq. 4); 0 off the mask."""
    share = _share(mask)
    d, z = _sum(depth * share), _sum(truth * share)
    covariance = _sum(share * (depth - d) * (truth - z))
    variance = _sum(share * (depth - d).square())
    scale = (covariance / variance.clamp(min=1e-12)).clamp(min=0)
    return (scale * (depth - d) + z) * (mask > 0)


def painted(depth: Float[Tensor, "B H W 1"], mask: Float[Tensor, "B H W 1"]) -> Float[Tensor, "B H W 3"]:
    """Relative depth to look at, over white: near is light, far is dark; black at 2.5 mean deviations."""
    grey = (0.5 - relative(depth, mask) / 5).clamp(0, 1)
    return (grey * mask + 1 - mask).expand(-1, -1, -1, 3)


def _share(mask: Float[Tensor, "B H W 1"]) -> Float[Tensor, "B H W 1"]:
    return mask / _sum(mask).clamp(min=1e-8)


def _sum(x: Float[Tensor, "B H W 1"]) -> Float[Tensor, "B 1 1 1"]:
    return x.sum(dim=(1, 2, 3), keepdim=True)
