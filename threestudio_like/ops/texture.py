"""Textures: trilinear reading with gradients, and filling of the texels that no triangle covers.

(u, v) = (0, 0) is the bottom left corner of the picture, so row 0 is at v = 1; texel centres are at halves.
A pixel's footprint is the parallelogram that J = d(column, row) / d(X, Y) makes of it, in texels. Its longest
half-axis, the largest singular value of J, says which of the textures halved again and again has texels of
that size: level = log2 sigma_max(J) (Williams 1983; Laine et al. 2020, section 3.3).
"""

from __future__ import annotations

import itertools

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
    values = torch.cat([texture, torch.ones_like(texture[..., :1])], dim=-1) * known[..., None]
    values = F.pad(values, (0, 0, 1, 1, 1, 1))
    for _ in range(margin):
        _grow(values)
    return torch.where(known[..., None], texture, _pulled(values[1:-1, 1:-1]))


def _grow(values: Float[Tensor, "H W D"]) -> None:
    """Write one more ring of texels, means of their known neighbours: those whose last value is 1."""
    known = values[..., -1] > 0
    near = known[:, :-2] | known[:, 1:-1] | known[:, 2:]
    near = (near[:-2] | near[1:-1] | near[2:]) & ~known[1:-1, 1:-1]
    row, column = torch.nonzero(near, as_tuple=True)
    total = values.new_zeros(len(row), values.shape[-1])
    for i, j in itertools.product(range(3), range(3)):
        total += values[row + i, column + j]
    values[row + 1, column + 1] = total / total[:, -1:]


def _pulled(values: Float[Tensor, "H W D"]) -> Float[Tensor, "H W C"]:
    """Fill holes from the next coarser level, and that one from its own (push-pull, Gortler et al. 1996)."""
    height, width, _ = values.shape
    known = values[..., -1:] > 0
    if bool(known.all()) or (height == 1 and width == 1):
        return values[..., :-1]
    halved = _halved(F.pad(values, (0, 0, 0, width % 2, 0, height % 2)))
    coarse = _pulled(halved / torch.where(halved[..., -1:] > 0, halved[..., -1:], 1.0))
    fine = coarse.repeat_interleave(2, dim=0).repeat_interleave(2, dim=1)[:height, :width]
    return torch.where(known, values[..., :-1], fine)
