"""Pictures of the exported mesh, drawn from its own texture: a video once around it, and a sheet of views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.export.draw import clay, draw, over_white
from threestudio_like.export.mesh import to_bytes
from threestudio_like.files import replacing
from threestudio_like.ops.camera import around, resized, split, withdrawn
from threestudio_like.records import Camera, Mesh, View

BATCH = 8  # views drawn at once


def pictures(mesh: Mesh, camera: Camera) -> Iterator[tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W 3"]]]:
    """(colours, shape) of each camera."""
    for part in split(camera, BATCH):
        view = draw(mesh, part, 2)
        yield from zip(over_white(view), clay(view), strict=True)


def write_turntable(path: Path, mesh: Mesh, start: Camera, *, frames: int, side: int, fps: int) -> None:
    """An MP4 once around: the colours on the left, the shape as grey clay on the right."""
    pairs = pictures(mesh, ring(start, mesh, frames, side))
    write_video(path, (torch.cat(pair, dim=1) for pair in pairs), fps)


def ring(start: Camera, mesh: Mesh, count: int, side: int) -> Camera:
    """Square pictures from all around; from farther away than `start` where a corner would be cut off."""
    return withdrawn(around(resized(start, side, side), count, 0.0), mesh.vertices)


def write_video(path: Path, frames: Iterable[Float[Tensor, "H W 3"]], fps: int) -> None:
    """An MP4; sides must be even."""
    # yuv420p, which every player knows, wants even sides; the encoder rounds up to them
    options: dict[str, Any] = {
        "fps": fps,
        "codec": "libx264",
        "quality": 8,
        "macro_block_size": 2,
        "pixelformat": "yuv420p",
    }
    with replacing(path) as partial, imageio.get_writer(partial, format="FFMPEG", **options) as video:
        for frame in frames:
            video.append_data(to_bytes(frame))  # type: ignore[attr-defined]


def write_preview(path: Path, mesh: Mesh, reference: View, *, views: int, side: int) -> None:
    """A sheet. Above: the picture it was made from, and the colours; below: its alpha, and the shape."""
    picture = shrunk(reference.rgba[:1], side)[0]
    pairs = [(picture[..., :3], picture[..., 3:].expand(-1, -1, 3))]
    pairs += pictures(mesh, ring(reference.camera, mesh, views, side))
    write_png(path, torch.cat([torch.cat(row, dim=1) for row in zip(*pairs, strict=True)], dim=0))


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
