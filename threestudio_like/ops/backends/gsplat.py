"""project and blend by gsplat (Ye et al. 2025; version 1.5 or later), where `ops.backend` asks for it.

As here: quaternions w first, x right and y down in pixels, whose middles are at halves, the conics' order,
the dilation of 0.3 px^2, the limits of the slopes in J, and 1 / 255 as the least opacity. Otherwise there:
opacities are held at 0.999 up to version 1.5; a pixel ends at a transmittance of 1e-4, not below; what
cannot be seen has neither center, conic nor depth, which are 0 then; the determinant of a thin Gaussian
cancels.
"""

from __future__ import annotations

import gsplat
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.ops import splat as op
from threestudio_like.ops.camera import focal, principal
from threestudio_like.records import Camera, Footprints

CHANNELS = (
    1,
    2,
    3,
    4,
    5,
    8,
    9,
    16,
    17,
    32,
    33,
    64,
    65,
    128,
    129,
    256,
    257,
    512,
    513,
)  # that it is compiled for


@torch.no_grad()
def _lenses(camera: Camera) -> tuple[Float[Tensor, "B 4 4"], Float[Tensor, "B 3 3"]]:
    """World to camera, with x right, y down, z forward; and the matrix that makes pixels of it."""
    view = camera.c2w.new_zeros(len(camera.c2w), 4, 4)
    view[:, :3, :3] = op.into_camera(camera)
    view[:, :3, 3:] = -view[:, :3, :3] @ camera.c2w[:, :3, 3:]
    view[:, 3, 3] = 1
    pixels = camera.c2w.new_zeros(len(camera.c2w), 3, 3)
    pixels[:, 0, 0] = pixels[:, 1, 1] = focal(camera)
    pixels[:, :2, 2] = principal(camera)
    pixels[:, 2, 2] = 1
    return view, pixels


def project(
    means: Float[Tensor, "N 3"],
    scales: Float[Tensor, "N 3"],
    quaternions: Float[Tensor, "N 4"],
    camera: Camera,
    near: float,
) -> Footprints:
    """See ops.splat."""
    view, pixels = _lenses(camera)
    radii, centers, depths, conics, _ = gsplat.fully_fused_projection(
        *(means, None, quaternions, scales, view, pixels, camera.width, camera.height),
        eps2d=op.DILATION,
        near_plane=near,
    )
    seen = (radii > 0).all(-1)
    centers, conics = (torch.where(seen[..., None], value, 0.0) for value in (centers, conics))
    with torch.no_grad():
        xx, xy, yy = conics.unbind(-1)
        variances = torch.stack([yy, xx], dim=-1) / torch.where(seen, xx * yy - xy * xy, 1.0)[..., None]
    return Footprints(centers, conics, torch.where(seen, depths, 0.0), variances.sqrt())


def blend(
    footprints: Footprints,
    opacities: Float[Tensor, " N"],
    values: Float[Tensor, "B N C"],
    height: int,
    width: int,
) -> tuple[Float[Tensor, "B H W C"], Float[Tensor, "B H W 1"]]:
    """See ops.splat."""
    num_views, count, channels = values.shape
    columns, rows = -(-width // op.TILE), -(-height // op.TILE)
    drawn = (footprints.spreads[..., :1] > 0) & (opacities >= op.MIN_ALPHA)[:, None]
    radii = torch.where(drawn, (op.CUTOFF * footprints.spreads).ceil(), 0).int()
    centers, depths = footprints.centers.detach(), footprints.depths.detach()
    _, keys, entries = gsplat.isect_tiles(centers, radii, depths, op.TILE, columns, rows)
    offsets = gsplat.isect_offset_encode(keys, num_views, columns, rows)
    room = next((size for size in CHANNELS if size >= channels), None)
    if room is None:
        raise ValueError(f"gsplat: {channels} channels; it is compiled for {CHANNELS[-1]} at most")
    sums, alpha = gsplat.rasterize_to_pixels(
        *(footprints.centers, footprints.conics, F.pad(values, (0, room - channels))),
        *(opacities.expand(num_views, count), width, height, op.TILE),
        *(offsets.view(num_views, rows, columns), entries),
    )
    return sums[..., :channels], alpha
