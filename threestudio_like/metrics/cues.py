"""How near told depth and normals are to the true ones; one number for each of the B pictures."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from threestudio_like.ops.depth import aligned


def angles(one: Float[Tensor, "*n 3"], other: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    """Degrees between vectors of any length but 0."""
    # atan2 is exact near 0 and 180 degrees, where the arc cosine of a float32 is not
    sine = torch.linalg.vector_norm(torch.linalg.cross(one, other), dim=-1)
    return torch.rad2deg(torch.atan2(sine, (one * other).sum(-1)))


def median_angle(
    normal: Float[Tensor, "B H W 3"], truth: Float[Tensor, "B H W 3"], mask: Float[Tensor, "B H W 1"]
) -> Float[Tensor, " B"]:
    """The median over pixels that are at least half object, degrees; not a number if there are none."""
    error = torch.where(mask[..., 0] >= 0.5, angles(normal, truth), torch.nan)
    return error.flatten(1).nanmedian(dim=1).values


def depth_error(
    depth: Float[Tensor, "B H W 1"], truth: Float[Tensor, "B H W 1"], mask: Float[Tensor, "B H W 1"]
) -> Float[Tensor, " B"]:
    """Root of the mean squared error under the mask, in the truth's unit, after the best scale and shift."""
    squares = (aligned(depth, truth, mask) - truth).square() * mask
    return (squares.sum(dim=(1, 2, 3)) / mask.sum(dim=(1, 2, 3)).clamp(min=1e-8)).sqrt()
