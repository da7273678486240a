"""Cameras: where they stand, the rays through their pixels, and the matrix that projects onto them.

Conventions are those of records.py. Picture rows run down, so the projection flips y: here, and nowhere else.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.records import Camera, Rays


def orbit(
    *,
    azimuth: Float[Tensor, " B"],
    elevation: Float[Tensor, " B"],
    distance: Float[Tensor, " B"],
    fov_y: Float[Tensor, " B"],
    height: int,
    width: int,
) -> Camera:
    """Cameras on spheres around the origin, looking at it, z up; angles in radians."""
    flat = torch.cos(elevation)
    outward = torch.stack(
        [flat * torch.cos(azimuth), flat * torch.sin(azimuth), torch.sin(elevation)], dim=-1
    )
    right = torch.stack([-torch.sin(azimuth), torch.cos(azimuth), torch.zeros_like(azimuth)], dim=-1)
    up = torch.linalg.cross(outward, right)
    rotation = torch.stack([right, up, outward], dim=-1)
    top = torch.cat([rotation, (outward * distance[:, None])[..., None]], dim=-1)
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=top.dtype, device=top.device).expand(len(top), 1, 4)
    return Camera(torch.cat([top, bottom], dim=1), fov_y, height, width)


def spherical(camera: Camera) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"], Float[Tensor, " B"]]:
    """(azimuth, elevation, distance) of the cameras' centres, radians; azimuth in (-pi, pi]."""
    x, y, z = camera.c2w[:, :3, 3].unbind(-1)
    distance = torch.sqrt(x * x + y * y + z * z)
    return torch.atan2(y, x), torch.asin((z / distance).clamp(-1, 1)), distance


def rays(camera: Camera) -> Rays:
    """One ray through the middle of each pixel, B H W 3."""
    c2w, height, width = camera.c2w, camera.height, camera.width
    focal = 0.5 * height / torch.tan(0.5 * camera.fov_y)[:, None, None]
    rows = torch.arange(height, dtype=c2w.dtype, device=c2w.device) + 0.5 - 0.5 * height
    columns = torch.arange(width, dtype=c2w.dtype, device=c2w.device) + 0.5 - 0.5 * width
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    local = torch.stack([x / focal, -y / focal, -torch.ones_like(x).expand(len(c2w), -1, -1)], dim=-1)
    directions = F.normalize(torch.einsum("bij,bhwj->bhwi", c2w[:, :3, :3], local), dim=-1)
    return Rays(c2w[:, None, None, :3, 3].expand_as(directions), directions)


def world_to_clip(camera: Camera, near: float, far: float) -> Float[Tensor, "B 4 4"]:
    """OpenGL's projection times the view matrix, with y flipped so that row 0 is the top of the picture."""
    focal = 1.0 / torch.tan(0.5 * camera.fov_y)
    projection = torch.zeros_like(camera.c2w)
    projection[:, 0, 0] = focal * camera.height / camera.width
    projection[:, 1, 1] = -focal
    projection[:, 2, 2] = -(far + near) / (far - near)
    projection[:, 2, 3] = -2 * far * near / (far - near)
    projection[:, 3, 2] = -1.0
    return projection @ torch.linalg.inv(camera.c2w)


def resized(camera: Camera, height: int, width: int) -> Camera:
    """The same cameras with another number of pixels."""
    return camera._replace(height=height, width=width)


def repeated(camera: Camera, count: int) -> Camera:
    """One camera, `count` times."""
    return camera._replace(c2w=camera.c2w.expand(count, -1, -1), fov_y=camera.fov_y.expand(count))
