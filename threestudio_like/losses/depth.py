"""Depth whose scale and shift are free: Ranftl et al. 2020 (MiDaS), eq. 6, without trimming."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from threestudio_like.ops.depth import relative


def affine_invariant(
    depth: Float[Tensor, "B H W 1"], target: Float[Tensor, "B H W 1"], mask: Float[Tensor, "B H W 1"]
) -> Float[Tensor, ""]:
    """Mean difference under the mask once each has its mean at 0 and its mean deviation at 1.

    The same for a depth + b with any a > 0; with a < 0 it is not: near and far must not change places.
    """
    difference = (relative(depth, mask) - relative(target, mask)).abs()
    return (difference * mask).sum() / mask.sum().clamp(min=1e-8)
