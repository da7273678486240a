"""Cameras: where they stand, the rays through their pixels, and the matrix that projects onto them.

Conventions are those of records.py. Picture rows run down, so the projection flips y: here, and nowhere else.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
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


def focal(camera: Camera) -> Float[Tensor, " B"]:
    """The focal length in pixels, which are square."""
    return 0.5 * camera.height / torch.tan(0.5 * camera.fov_y)


def principal(camera: Camera) -> Float[Tensor, "B 2"]:
    """Where the optical axis meets the picture: x and y in pixels from its top left corner."""
    middle = camera.c2w.new_tensor([0.5 * camera.width, 0.5 * camera.height]).expand(len(camera.c2w), 2)
    return middle if camera.shift is None else middle + camera.shift


def rays(camera: Camera) -> Rays:
    """One ray through the middle of each pixel, B H W 3."""
    c2w, height, width = camera.c2w, camera.height, camera.width
    left, top = principal(camera)[:, :, None, None].unbind(1)
    rows = torch.arange(height, dtype=c2w.dtype, device=c2w.device)[:, None] + 0.5 - top
    columns = torch.arange(width, dtype=c2w.dtype, device=c2w.device) + 0.5 - left
    length = focal(camera)[:, None, None]
    x, y, z = torch.broadcast_tensors(columns / length, -rows / length, c2w.new_tensor(-1.0))
    local = torch.stack([x, y, z], dim=-1)
    directions = F.normalize(torch.einsum("bij,bhwj->bhwi", c2w[:, :3, :3], local), dim=-1)
    return Rays(c2w[:, None, None, :3, 3].expand_as(directions), directions)


def world_to_clip(camera: Camera, near: float, far: float) -> Float[Tensor, "B 4 4"]:
    """OpenGL's projection times the view matrix, with y flipped so that row 0 is the top of the picture."""
    length = 1.0 / torch.tan(0.5 * camera.fov_y)
    projection = torch.zeros_like(camera.c2w)
    projection[:, 0, 0] = length * camera.height / camera.width
    projection[:, 1, 1] = -length
    if camera.shift is not None:
        projection[:, 0, 2] = -2 * camera.shift[:, 0] / camera.width
        projection[:, 1, 2] = -2 * camera.shift[:, 1] / camera.height
    projection[:, 2, 2] = -(far + near) / (far - near)
    projection[:, 2, 3] = -2 * far * near / (far - near)
    projection[:, 3, 2] = -1.0
    return projection @ torch.linalg.inv(camera.c2w)


def resized(camera: Camera, height: int, width: int) -> Camera:
    """The same cameras with another number of pixels; the picture's height stays what `fov_y` spans."""
    shift = None if camera.shift is None else camera.shift * (height / camera.height)
    return camera._replace(height=height, width=width, shift=shift)


def crop(
    camera: Camera, top: int | Int[Tensor, " B"], left: int | Int[Tensor, " B"], height: int, width: int
) -> Camera:
    """The cameras of windows of the pictures; `top` and `left` in pixels, one for all or one for each."""
    centre = principal(camera)
    corner = torch.stack([torch.as_tensor(side).to(centre).expand(len(centre)) for side in (left, top)], -1)
    fov_y = 2 * torch.atan(0.5 * height / focal(camera))
    return Camera(
        camera.c2w, fov_y, height, width, centre - corner - 0.5 * centre.new_tensor([width, height])
    )


def chosen(camera: Camera, index: Int[Tensor, " n"]) -> Camera:
    """Some of the cameras, in the order of `index`."""
    shift = None if camera.shift is None else camera.shift[index]
    return camera._replace(c2w=camera.c2w[index], fov_y=camera.fov_y[index], shift=shift)


def repeated(camera: Camera, count: int) -> Camera:
    """One camera, `count` times."""
    return chosen(camera, torch.zeros(count, dtype=torch.int64, device=camera.c2w.device))


def split(camera: Camera, size: int) -> list[Camera]:
    """The cameras in batches of `size`; fewer in the last, if they do not go into it."""
    every = torch.arange(len(camera.c2w), device=camera.c2w.device)
    return [chosen(camera, part) for part in every.split(size)]


def around(camera: Camera, count: int, first: float) -> Camera:
    """One camera carried around the z axis, counter-clockwise, to `count` places at equal steps.

    The first place is `first` steps on from its own: with 0.0 it is there itself, with 0.5 it stands in the
    middle of two of them.
    """
    ring = repeated(camera, count)
    turn = 2 * math.pi / count * (torch.arange(count).to(ring.c2w) + first)
    rotation = torch.eye(4).to(ring.c2w).repeat(count, 1, 1)
    rotation[:, 0, 0] = rotation[:, 1, 1] = torch.cos(turn)
    rotation[:, 1, 0], rotation[:, 0, 1] = torch.sin(turn), -torch.sin(turn)
    return ring._replace(c2w=rotation @ ring.c2w)


def withdrawn(camera: Camera, points: Float[Tensor, "N 3"]) -> Camera:
    """All cameras moved back along their axes by one length: the least with which each sees every point.

    By none where they do already.
    """
    back = points.new_zeros(())
    for one in split(camera, 1):
        clip = F.pad(points, (0, 1), value=1.0) @ world_to_clip(one, 0.1, 10.0)[0].mT
        place, depth = clip[:, :2], clip[:, 3:]
        # a step back of 1 adds 1 to the depth and `drift` to the place; |place| <= depth is in sight
        sides = points.new_tensor([one.width, one.height])
        drift = torch.zeros_like(sides) if one.shift is None else 2 * one.shift[0] / sides
        back = torch.stack(
            [back, ((place - depth) / (1 - drift)).max(), ((-place - depth) / (1 + drift)).max()]
        ).max()
    centre = camera.c2w[:, :3, 3] + back * camera.c2w[:, :3, 2]
    return camera._replace(
        c2w=torch.cat([camera.c2w[:, :, :3], F.pad(centre, (0, 1), value=1.0)[..., None]], -1)
    )
