"""Whether pictures from around an object can be of one object: by their outlines, and step by step.

The largest solid that all outlines allow is their visual hull (Laurentini 1994). Seen again, it fills every
outline if some object has them all; else it leaves a part empty that no object has beside the others.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from threestudio_like.metrics.image import mask_iou, psnr
from threestudio_like.ops.camera import focal, principal
from threestudio_like.records import Camera


def pixels(points: Float[Tensor, "N 3"], camera: Camera) -> tuple[Int[Tensor, "B N"], Bool[Tensor, "B N"]]:
    """Of each picture, the pixel that a point falls in, counted row by row, and whether there is one."""
    c2w = camera.c2w
    local = torch.einsum("bnj,bji->bni", points - c2w[:, None, :3, 3], c2w[:, :3, :3])
    scale = (focal(camera)[:, None] / (-local[..., 2]).clamp(min=1e-6))[..., None]
    place = local[..., :2] * local.new_tensor([1.0, -1.0]) * scale + principal(camera)[:, None]
    column, row = place.floor().long().unbind(-1)
    seen = (local[..., 2] < 0) & (column >= 0) & (column < camera.width)
    seen &= (row >= 0) & (row < camera.height)
    index = row.clamp(0, camera.height - 1) * camera.width + column.clamp(0, camera.width - 1)
    return index, seen


def hull_outlines(
    alpha: Float[Tensor, "B H W 1"], camera: Camera, *, reach: float, resolution: int
) -> Float[Tensor, "B H W 1"]:
    """The visual hull's outlines in the pictures that made it: 1 inside, 0 outside.

    It is made of cells in [-reach, reach]^3, `resolution` a side; a pixel must be wider than a cell.
    """
    middles = (torch.arange(resolution).to(alpha) + 0.5) * (2 * reach / resolution) - reach
    points = torch.cartesian_prod(middles, middles, middles)
    kept = torch.ones(len(points), dtype=torch.bool, device=alpha.device)
    inside = alpha.flatten(1) >= 0.5
    index, seen = pixels(points, camera)
    for mask, place, within in zip(inside, index, seen, strict=True):
        kept &= ~within | mask[place]
    found = torch.zeros_like(inside)
    for filled, place, within in zip(found, index, seen, strict=True):
        filled[place[kept & within]] = True
    return found.to(alpha.dtype).view_as(alpha)


def hull_iou(
    alpha: Float[Tensor, "B H W 1"], camera: Camera, *, reach: float, resolution: int
) -> Float[Tensor, " B"]:
    """How much of each outline the visual hull of all of them fills: 1 where they are of one object."""
    return mask_iou(hull_outlines(alpha, camera, reach=reach, resolution=resolution), alpha)


def neighbour_psnr(pictures: Float[Tensor, "B H W C"]) -> Float[Tensor, " B"]:
    """From each picture to the next, and from the last to the first; dB."""
    return psnr(pictures.roll(-1, 0), pictures)
