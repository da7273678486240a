"""Textures: trilinear reading with gradients, and filling of the texels that no triangle covers.

(u, v) = (0, 0) is the bottom left corner of the picture, so row 0 is at v = 1; texel centres are at halves.
A pixel's footprint is the parallelogram that J = d(column, row) / d(X, Y) makes of it, in texels. Its longest
half-axis, the largest singular value of J, says which of the textures halved again and again has texels of
that size: level = log2 sigma_max(J) (Williams 1983; Laine et al. 2020, section 3.3).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from threestudio_like.ops.dispatch import op

TINY = 1e-20  # texels to the fourth: a footprint rounder than this is a circle, whose axes have no direction


@op
def sample(
    texture: Float[Tensor, "H W C"],
    uv: Float[Tensor, "*points 2"],
    derivatives: Float[Tensor, "*points 2 2"] | None = None,
    boundary: str = "clamp",
) -> Float[Tensor, "*points C"]:
    """Bilinear within a mip level and linear between two; the finest level alone without `derivatives`.

    derivatives: of u and v to a pixel's X and Y, as `raster.attribute_derivatives` gives them.
    boundary: `clamp` repeats the texels at the edges, `wrap` the whole texture.
    Gradients to the texture, to uv and to the derivatives.
    """
    check_boundary(boundary)
    where = uv.reshape(-1, 2)
    if derivatives is None:
        return _bilinear(texture, where, boundary).reshape(*uv.shape[:-1], texture.shape[-1])
    levels = pyramid(texture)
    level = mip_level(derivatives.reshape(-1, 2, 2), *texture.shape[:2]).clamp(max=len(levels) - 1)
    found = texture.new_zeros(len(level), texture.shape[-1])
    for number, halved in enumerate(levels):
        share = 1 - (level - number).abs()
        (near,) = torch.nonzero(share > 0, as_tuple=True)
        found = found.index_add(0, near, share[near, None] * _bilinear(halved, where[near], boundary))
    return found.reshape(*uv.shape[:-1], texture.shape[-1])


def check_boundary(boundary: str) -> None:
    """Refuse what `sample` does not know."""
    if boundary not in ("clamp", "wrap"):
        raise ValueError(f"texture: boundary is clamp or wrap, not {boundary!r}")


def pyramid(texture: Float[Tensor, "H W C"]) -> list[Float[Tensor, "h w C"]]:
    """The texture and its halves by means of 2 x 2 texels, to 1 x 1 texel or until a side is odd."""
    levels = [texture]
    while max(sides := levels[-1].shape[:2]) > 1 and all(side == 1 or side % 2 == 0 for side in sides):
        levels.append(_halved(levels[-1]))
    return levels


def _halved(texture: Float[Tensor, "H W C"]) -> Float[Tensor, "h w C"]:
    """Means of neighbours along each side that has more than one texel."""
    for axis in (0, 1):
        if texture.shape[axis] > 1:
            even, odd = texture.unflatten(axis, (-1, 2)).unbind(axis + 1)
            texture = (even + odd) / 2
    return texture


def mip_level(derivatives: Float[Tensor, "N 2 2"], height: int, width: int) -> Float[Tensor, " N"]:
    """log2 of the footprint's longest axis in texels, 0 for one texel and less."""
    x, y = (derivatives * derivatives.new_tensor([[width], [height]])).unbind(-1)
    a, b, c = (x * x).sum(-1), (y * y).sum(-1), (x * y).sum(-1)
    # the larger eigenvalue of J^T J = ((a, c), (c, b))
    largest = (a + b) / 2 + (((a - b) / 2) ** 2 + c**2).clamp(min=TINY).sqrt()
    return largest.clamp(min=1).log2() / 2


def _bilinear(
    texture: Float[Tensor, "H W C"], uv: Float[Tensor, "N 2"], boundary: str
) -> Float[Tensor, "N C"]:
    """The four texels around each point, by the areas across from them."""
    height, width, channels = texture.shape
    x, y = uv[:, 0] * width - 0.5, (1 - uv[:, 1]) * height - 0.5
    column, row = x.floor(), y.floor()
    right, below = (x - column)[:, None], (y - row)[:, None]
    columns = [_inside(column.long() + i, width, boundary) for i in (0, 1)]
    rows = [_inside(row.long() + i, height, boundary) * width for i in (0, 1)]
    texels = texture.reshape(-1, channels)
    (a, b), (c, d) = ([texels[start + offset] for offset in columns] for start in rows)
    return torch.lerp(torch.lerp(a, b, right), torch.lerp(c, d, right), below)


def _inside(index: Int[Tensor, " N"], count: int, boundary: str) -> Int[Tensor, " N"]:
    """The texel that stands for one beyond the edge."""
    return index % count if boundary == "wrap" else index.clamp(0, count - 1)


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
