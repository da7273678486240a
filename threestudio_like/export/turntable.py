"""Pictures of the exported mesh, drawn from its own texture: a video once around it, and a sheet of views."""

from __future__ import annotations

import math
from pathlib import Path

import imageio.v2 as imageio
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.export.draw import clay, draw, over_white
from threestudio_like.export.files import replacing
from threestudio_like.export.mesh import to_bytes
from threestudio_like.ops.camera import orbit, resized, spherical
from threestudio_like.records import Camera, Mesh, View


def around(start: Camera, count: int, side: int) -> list[Camera]:
    """`count` cameras at equal azimuths and `start`'s height, its own first."""
    azimuth, elevation, distance = (value[:1] for value in spherical(start))
    return [
        orbit(
            azimuth=azimuth + 2 * math.pi * index / count,
            elevation=elevation,
            distance=distance,
            fov_y=start.fov_y[:1],
            height=side,
            width=side,
        )
        for index in range(count)
    ]


def write_turntable(path: Path, mesh: Mesh, start: Camera, *, frames: int, side: int, fps: int) -> None:
    """An MP4 once around: the colours on the left, the shape as grey clay on the right."""
    # sizes must be even for yuv420p; the shared sides are, so no block size is asked for
    options = {"fps": fps, "codec": "libx264", "quality": 8, "macro_block_size": 2, "pixelformat": "yuv420p"}
    with replacing(path) as partial, imageio.get_writer(partial, format="FFMPEG", **options) as video:  # type: ignore[arg-type]
        for camera in around(start, frames, side):
            view = draw(mesh, camera, 2)
            video.append_data(to_bytes(torch.cat([over_white(view)[0], clay(view)[0]], dim=1)))


def write_preview(path: Path, mesh: Mesh, reference: View, *, views: int, side: int) -> None:
    """A sheet: the picture it was made from beside the colours, above; the picture's alpha beside the shape, below."""
    shown = [draw(mesh, camera, 2) for camera in around(reference.camera, views, side)]
    picture = shrunk(reference.rgba[:1], side)
    above = [picture[..., :3], *(over_white(view) for view in shown)]
    below = [picture[..., 3:].expand(-1, -1, -1, 3), *(clay(view) for view in shown)]
    sheet = torch.cat([torch.cat(row, dim=2) for row in (above, below)], dim=1)
    write_png(path, sheet[0])


def write_comparison(path: Path, mesh: Mesh, reference: View) -> None:
    """The picture, the colours from its camera, and their difference, side by side."""
    seen = over_white(draw(mesh, resized(reference.camera, *reference.rgb.shape[1:3]), 2))
    picture = reference.rgba[..., :3]
    write_png(path, torch.cat([picture, seen, (picture - seen).abs()], dim=2)[0])


def write_png(path: Path, picture: Float[Tensor, "H W C"]) -> None:
    """8 bits a channel."""
    with replacing(path) as partial:
        imageio.imwrite(partial, to_bytes(picture))


def shrunk(picture: Float[Tensor, "B h w C"], side: int) -> Float[Tensor, "B H W C"]:
    """Resampled to a square of `side` pixels."""
    planes = picture.permute(0, 3, 1, 2)
    planes = F.interpolate(planes, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return planes.permute(0, 2, 3, 1).clamp(0, 1)
