"""What silhouettes alone say of an object: its visual hull (Laurentini 1994)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from threestudio_like.ops.camera import focal, principal
from threestudio_like.records import Camera, View

SIDE = 48  # cells
ROUNDS = 3  # coarse to fine: a thin object may fall between the cells of the first grid


def box(view: View) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Low and high corner around the visual hull: what is object in all pictures that see it."""
    middle = nearest_point(view.camera)
    away = torch.linalg.vector_norm(view.camera.c2w[:, :3, 3] - middle, dim=-1)
    reach = float((away * torch.tan(0.5 * view.camera.fov_y)).max())
    low, high = middle - reach, middle + reach
    for _ in range(ROUNDS):
        cell = (high - low) / SIDE
        axes = [low[k] + (torch.arange(SIDE) + 0.5) * cell[k] for k in range(3)]
        points = torch.cartesian_prod(*axes)
        kept = points[carved(view, points, 0.5 * float(cell.max()))]
        if len(kept) == 0:
            raise ValueError("dataset: no place is object in all pictures; poses, lens and masks disagree")
        low, high = kept.amin(0) - cell / 2, kept.amax(0) + cell / 2
    return low, high


def nearest_point(camera: Camera) -> Float[Tensor, " 3"]:
    """The point nearest to all optical axes, in least squares."""
    axes = camera.c2w[:, :3, 2].double()
    away = torch.eye(3).double() - axes[:, :, None] * axes[:, None]
    right = (away @ camera.c2w[:, :3, 3, None].double()).sum(0)
    return torch.linalg.lstsq(away.sum(0), right).solution[:, 0].float()


def carved(view: View, points: Float[Tensor, "N 3"], reach: float) -> Bool[Tensor, " N"]:
    """Whether no picture shows background all around a point, within `reach` world units of it."""
    kept = torch.ones(len(points), dtype=torch.bool)
    lengths, centres = focal(view.camera), principal(view.camera)
    for c2w, alpha, length, centre in zip(view.camera.c2w, view.alpha, lengths, centres, strict=True):
        local = (points - c2w[:3, 3]) @ c2w[:3, :3]
        ahead = local[:, 2] < -1e-6
        scale = length / -local[:, 2].clamp(max=-1e-6)
        column, row = local[:, 0] * scale + centre[0], -local[:, 1] * scale + centre[1]
        pixels = int(torch.ceil(reach * scale[ahead].median())) if ahead.any() else 0
        near = F.max_pool2d(alpha[None, ..., 0], 2 * pixels + 1, 1, pixels)[0]
        height, width = near.shape
        seen = ahead & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        values = near[row.long().clamp(0, height - 1), column.long().clamp(0, width - 1)]
        kept &= ~seen | (values > 0.5)
    return kept


def outside(view: View, points: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
    """World units from each point to the visual hull, negative inside; a bound, and right near a smooth hull.

    It is the largest that any picture says: pixels from the outline, times the size of a pixel at that depth.
    """
    found = torch.full((len(points),), -torch.inf)
    maps = torch.stack([outline_distance(alpha[..., 0] > 0.5) for alpha in view.alpha])
    size = torch.tensor([view.camera.width, view.camera.height])
    for c2w, pixels, length, centre in zip(
        view.camera.c2w, maps, focal(view.camera), principal(view.camera), strict=True
    ):
        local = (points - c2w[:3, 3]) @ c2w[:3, :3]
        depth = (-local[:, 2:]).clamp(min=1e-6)
        place = (local[:, :2] * torch.tensor([1.0, -1.0]) / depth * length + centre) / size * 2 - 1
        seen = F.grid_sample(
            pixels[None, None], place[None, None], align_corners=False, padding_mode="border"
        )
        found = torch.maximum(found, seen[0, 0, 0] * depth[:, 0] / length)
    return found


def skin(view: View, box: Float[Tensor, "2 3"]) -> Float[Tensor, "N 3"]:
    """Points of a grid over the box that lie within a cell of the visual hull's surface."""
    axes = [torch.linspace(float(low), float(high), SIDE) for low, high in zip(*box, strict=True)]
    points, cell = torch.cartesian_prod(*axes), float((box[1] - box[0]).max()) / SIDE
    return points[outside(view, points).abs() < cell]


def outline_distance(mask: Bool[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """Pixels from each pixel's middle to the outline, negative in the mask."""
    inner, outer = (nearest(where).sqrt() - 0.5 for where in (~mask, mask))
    return torch.where(mask, -inner, outer)


def nearest(mask: Bool[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """Squared distance to the nearest pixel of the mask: least over columns, then over rows (exact)."""
    far = float(sum(mask.shape)) ** 2  # where there is none
    squares = [(torch.arange(n)[:, None] - torch.arange(n)).float().square() for n in mask.shape]
    along = (torch.where(mask, 0.0, far)[:, None] + squares[1]).amin(-1)
    return (along.T[:, None] + squares[0]).amin(-1).T
