"""Textures: bilinear reading with gradients, and filling of the texels that no triangle covers.

(u, v) = (0, 0) is the bottom left corner of the picture, so row 0 is at v = 1; texel centres are at halves.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def sample(texture: Float[Tensor, "H W C"], uv: Float[Tensor, "*points 2"]) -> Float[Tensor, "*points C"]:
    """Bilinear, clamped at the edges; gradients to the texture and to uv."""
    grid = torch.stack([2 * uv[..., 0] - 1, 1 - 2 * uv[..., 1]], dim=-1).reshape(1, -1, 1, 2)
    planes = texture.permute(2, 0, 1)[None]
    values = F.grid_sample(planes, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return values[0, :, :, 0].T.reshape(*uv.shape[:-1], texture.shape[-1])


def fill(texture: Float[Tensor, "H W C"], known: Bool[Tensor, "H W"], margin: int) -> Float[Tensor, "H W C"]:
    """Give every unknown texel a colour: known ones grow outward by `margin`, a pyramid fills what is left.

    Growing keeps a chart's rim sharp under bilinear reading; the pyramid keeps coarse mip levels clean.
    """
    weight = known[None, None].to(texture.dtype)
    values = texture.permute(2, 0, 1)[None] * weight
    for _ in range(margin):
        values, weight = _grown(values, weight)
    return torch.where(known[..., None], texture, _pulled(values, weight)[0].permute(1, 2, 0))


def _grown(
    values: Float[Tensor, "1 C H W"], weight: Float[Tensor, "1 1 H W"]
) -> tuple[Float[Tensor, "1 C H W"], Float[Tensor, "1 1 H W"]]:
    """One more ring of texels: each the mean of its known neighbours."""
    near = F.avg_pool2d(weight, 3, stride=1, padding=1)
    mean = F.avg_pool2d(values, 3, stride=1, padding=1) / near.clamp(min=1e-6)
    return torch.where(weight > 0, values, mean * (near > 0)), (near > 0).to(weight.dtype)


def _pulled(values: Float[Tensor, "1 C H W"], weight: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "1 C H W"]:
    """Fill holes from the next coarser level, and that one from its own (push-pull, Gortler et al. 1996)."""
    height, width = weight.shape[-2:]
    if bool((weight > 0).all()) or (height == 1 and width == 1):
        return values
    near = F.avg_pool2d(weight, 2, ceil_mode=True)
    mean = F.avg_pool2d(values, 2, ceil_mode=True) / near.clamp(min=1e-6)
    coarse = _pulled(mean, (near > 0).to(weight.dtype))
    fine = F.interpolate(coarse, (height, width), mode="nearest")
    return torch.where(weight > 0, values, fine)
