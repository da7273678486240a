"""3-D Gaussians to pixels: `project` (Zwicker et al. 2001) and `blend` (Kerbl et al. 2023, sections 4 and 6).

With V the rotation into the camera (x right, y down, z forward) and J the derivative of the perspective, a
Gaussian of covariance S is seen as one of J V S V^T J^T + .3 px^2 around its projected mean. J is taken no
further outside the picture than .3 of its half side, where linearising would smear it over the whole picture.
At a pixel d from that mean alpha = min(.99, o exp(-d^T conic d / 2)), and 0 below 1/255. From near to far the
weights are alpha T, T the product of (1 - alpha) before; the first that would leave T < 1e-4 ends the pixel.
All gradients are exact: none where alpha is held at .99, none to a slope where J is held.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.ops.camera import focal, principal
from threestudio_like.ops.dispatch import op
from threestudio_like.records import Camera, Footprints

DILATION = 0.3  # px^2: no Gaussian falls between pixels
BEYOND = 0.3  # of half the picture's side: how far outside of it the slopes in J may be
MAX_ALPHA = 0.99
MIN_ALPHA = 1 / 255
MIN_THROUGH = 1e-4
CUTOFF = math.sqrt(2 * math.log(1 / MIN_ALPHA))  # 3.33 deviations: where the densest falls below MIN_ALPHA
TILE = 16  # pixels a side of the squares that are drawn at once


def rotation_matrices(quaternions: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 3 3"]:
    """Of quaternions (w, x, y, z) of any length but 0; q and -q are one rotation."""
    w, x, y, z = F.normalize(quaternions, dim=-1).unbind(-1)
    rows = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    ]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def into_camera(camera: Camera) -> Float[Tensor, "B 3 3"]:
    """Rotations from the world to x right, y down, z forward."""
    return (camera.c2w[:, :3, :3] * camera.c2w.new_tensor([1.0, -1.0, -1.0])).transpose(1, 2)


def slope_limits(camera: Camera) -> tuple[Float[Tensor, "B 2"], Float[Tensor, "B 2"]]:
    """Least and greatest x / z and y / z of the slopes in J."""
    side = camera.c2w.new_tensor([camera.width, camera.height])
    middle, margin, length = principal(camera), BEYOND * side / 2, focal(camera)[:, None]
    return -(middle + margin) / length, (side - middle + margin) / length


@op
def project(
    means: Float[Tensor, "N 3"],
    scales: Float[Tensor, "N 3"],
    quaternions: Float[Tensor, "N 4"],
    camera: Camera,
    near: float,
) -> Footprints:
    """Where Gaussians (deviations `scales` along the axes of their rotations) fall in pictures.

    Those not beyond `near`, or wholly outside the picture, have spreads of 0. Gradients go to the Gaussians,
    by `centers`, `conics` and `depths`; not to the cameras.
    """
    with torch.no_grad():
        view, origins = into_camera(camera), camera.c2w[:, None, :3, 3]
        lengths, middles = focal(camera)[:, None, None], principal(camera)[:, None]
        low, high = (limit[:, None] for limit in slope_limits(camera))
    local = torch.einsum("bij,bnj->bni", view, means - origins)
    depths = local[..., 2]
    seen = depths > near
    slopes = local[..., :2] / torch.where(seen, depths, 1.0)[..., None]
    held = torch.minimum(torch.maximum(slopes, low), high)
    identity = torch.eye(2).to(means).expand(*held.shape, 2)
    jacobian = torch.cat([identity, -held[..., None]], dim=-1)  # times focal / depth
    axes = view[:, None] @ (rotation_matrices(quaternions) * scales[:, None])
    drawn = jacobian @ axes * (lengths / torch.where(seen, depths, 1.0)[..., None])[..., None]
    x, y = drawn.unbind(-2)
    xx, xy, yy = (x * x).sum(-1), (x * y).sum(-1), (y * y).sum(-1)
    # the determinant as a sum of squares: the usual difference of products cancels where a Gaussian is thin
    square = torch.linalg.cross(x, y).square().sum(-1)
    determinant = square + DILATION * (xx + yy) + DILATION**2
    conics = torch.stack([yy + DILATION, -xy, xx + DILATION], dim=-1) / determinant[..., None]
    centers = lengths * slopes + middles
    with torch.no_grad():
        spreads = (torch.stack([xx, yy], dim=-1) + DILATION).sqrt()
        side = means.new_tensor([camera.width, camera.height])
        inside = (centers + CUTOFF * spreads > 0) & (centers - CUTOFF * spreads < side)
        spreads = torch.where((seen[..., None] & inside).all(-1, keepdim=True), spreads, 0.0)
    return Footprints(centers, conics, depths, spreads)


@op
def blend(
    footprints: Footprints,
    opacities: Float[Tensor, " N"],
    values: Float[Tensor, "B N C"],
    height: int,
    width: int,
) -> tuple[Float[Tensor, "B H W C"], Float[Tensor, "B H W 1"]]:
    """(weighted sums of `values`, sum of the weights) at each pixel, over nothing; opacities are at most 1.

    Gradients go to `centers`, `conics`, opacities and values.
    """
    pictures = []
    for centers, conics, depths, spreads, value in zip(*footprints, values, strict=True):
        order = torch.argsort(depths.detach(), stable=True)
        order = order[(spreads[order, 0] > 0) & (opacities[order] >= MIN_ALPHA)]
        cloud = (centers[order], conics[order], opacities[order], value[order])
        reach = spreads[order] * torch.sqrt(2 * torch.log(opacities[order, None].detach() / MIN_ALPHA))
        boxes = centers[order].detach() - reach, centers[order].detach() + reach
        rows = [
            torch.cat([_tile(cloud, boxes, (top, left), height, width) for left in range(0, width, TILE)], 1)
            for top in range(0, height, TILE)
        ]
        pictures.append(torch.cat(rows))
    sums, alpha = torch.stack(pictures).split([values.shape[-1], 1], dim=-1)
    return sums, alpha


def _tile(
    cloud: tuple[Tensor, Tensor, Tensor, Tensor],
    boxes: tuple[Tensor, Tensor],
    corner: tuple[int, int],
    height: int,
    width: int,
) -> Float[Tensor, "h w K"]:
    """One square of the picture, of the Gaussians whose boxes meet it; the last channel sums the weights."""
    (top, left), (low, high) = corner, boxes
    bottom, right = min(top + TILE, height), min(left + TILE, width)
    first, last = low.new_tensor([left, top]), low.new_tensor([right, bottom])
    index = torch.nonzero(((high >= first) & (low <= last)).all(-1))[:, 0]
    centers, conics, opacities, values = (tensor[index] for tensor in cloud)
    alpha = _alphas(_middles(top, bottom, left, right, low), centers, conics, opacities)
    through = F.pad(torch.cumprod(1 - alpha, dim=-1), (1, 0), value=1.0)
    weights = alpha * through[:, :-1]
    sums = torch.cat([weights @ values, weights.sum(-1, keepdim=True)], dim=-1)
    return sums.view(bottom - top, right - left, -1)


def _middles(top: int, bottom: int, left: int, right: int, like: Tensor) -> Float[Tensor, "P 2"]:
    """x and y of the middles of a window's pixels, row after row."""
    y, x = torch.meshgrid(torch.arange(top, bottom), torch.arange(left, right), indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2).to(like) + 0.5


def _alphas(
    pixels: Float[Tensor, "P 2"],
    centers: Float[Tensor, "n 2"],
    conics: Float[Tensor, "n 3"],
    opacities: Float[Tensor, " n"],
) -> Float[Tensor, "P n"]:
    """Of sorted Gaussians at pixels; 0 for those that are not drawn."""
    x, y = (pixels[:, None] - centers).unbind(-1)
    xx, xy, yy = conics.unbind(-1)
    alpha = opacities * torch.exp(-0.5 * (xx * x * x + 2 * xy * x * y + yy * y * y))
    alpha = torch.where(alpha >= MIN_ALPHA, alpha.clamp(max=MAX_ALPHA), 0.0)
    return torch.where(torch.cumprod(1 - alpha.detach(), dim=-1) >= MIN_THROUGH, alpha, 0.0)
