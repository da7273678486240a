"""An album: many pictures of many objects, drawn once into a file that processes share."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like import cache
from threestudio_like.data.draw import Light, draw
from threestudio_like.data.objects import Object, normalized
from threestudio_like.files import replacing
from threestudio_like.ops.camera import orbit
from threestudio_like.ranges import Count, Latitudes, Opening, Positive, Positives, Seed, Side
from threestudio_like.records import Camera, Mesh, View

log = logging.getLogger(__name__)
FORMAT = 1  # of the pictures; a change of drawing must count it up
BATCH = 16  # views drawn at once
MIN_COVER = 0.03  # of the pictures, on average: a pencil or a cable teaches little at these sizes
SECONDS = 10.0  # between two lines of progress
RELIEF_CHANNELS = 9
DEEPEST = 1.0  # of a relief; objects of longest side 1 reach 0.87 from the origin at most
UNLIT = Light(direction=(0.0, 0.0, 1.0), ambient=1.0, diffuse=0.0)


class Cameras(NamedTuple):
    """The ranges random cameras are taken from, degrees; any azimuth, elevation uniform on the sphere."""

    fov_y: Opening
    distance: Positives
    elevation: Latitudes
    size: Side  # of the square pictures


class Variety(NamedTuple):
    """How many pictures of an object there are, and how differently stretched copies of it they show."""

    variants: Count
    views: Count  # of each variant
    stretch: Positive  # each axis by a factor between 1 / stretch and stretch; 1 leaves the object as it is
    seed: Seed  # of the stretching and the cameras; not the run's, or each run would draw its own album


class Album(NamedTuple):
    """N objects (variants of one are objects of their own here), M views of each."""

    names: list[str]
    pictures: np.ndarray  # N M H W 4 uint8: straight colour, alpha; unlit ones: N M H W 9, see `relief`
    poses: np.ndarray  # N M 3 float32: azimuth, elevation, distance; radians
    rows: np.ndarray  # of the N, those with something to see


def poses(rng: np.random.Generator, count: int, cameras: Cameras) -> Float[Tensor, "M 3"]:
    """Random (azimuth, elevation, distance); the same number of views for each piece of the sphere's belt."""
    low, high = np.sin(np.radians(cameras.elevation))
    azimuth = rng.uniform(-math.pi, math.pi, count)
    elevation = np.arcsin(rng.uniform(low, high, count))
    nearest, furthest = cameras.distance
    distance = rng.uniform(nearest, furthest, count)
    return torch.from_numpy(np.stack([azimuth, elevation, distance], axis=-1).astype(np.float32))


def camera(pose: Float[Tensor, "B 3"], cameras: Cameras) -> Camera:
    """The cameras at `pose`."""
    azimuth, elevation, distance = pose.unbind(-1)
    fov_y = torch.full_like(azimuth, math.radians(cameras.fov_y))
    return orbit(
        azimuth=azimuth,
        elevation=elevation,
        distance=distance,
        fov_y=fov_y,
        height=cameras.size,
        width=cameras.size,
    )


def stretched(mesh: Mesh, rng: np.random.Generator, stretch: float) -> Mesh:
    """The mesh scaled by a random factor along each axis, its longest side then brought back to 1."""
    limit = math.log(stretch)
    scale = torch.from_numpy(np.exp(rng.uniform(-limit, limit, 3)).astype(np.float32))
    return mesh._replace(vertices=normalized(mesh.vertices * scale))


def album(
    objects: list[Object],
    cameras: Cameras,
    variety: Variety,
    light: Light | None,
    *,
    folder: Path,
    source: str,
) -> Album:
    """The album of `objects`, from `folder` if it was drawn before; `source` is the objects' fingerprint.

    Without a light its pictures are reliefs.
    """
    lit = "relief" if light is None else _plain(light)
    key = cache.digest(FORMAT, source, len(objects), _plain(cameras), _plain(variety), lit)
    file = folder / f"album-{key}.npy"
    if not file.exists():
        _draw(objects, cameras, variety, light, file)
    names = [o.name for o in objects for _ in range(variety.variants)]
    rngs = [_rng(variety.seed, index) for index in range(len(names))]
    all_poses = torch.stack([poses(rng, variety.views, cameras) for rng in rngs])
    pictures = np.load(file, mmap_mode="r")
    cover = pictures[:, :, ::2, ::2, 3].mean(axis=(1, 2, 3)) / 255
    rows = np.flatnonzero(cover >= MIN_COVER)
    if not len(rows):
        raise ValueError(f"nothing to see in the pictures of {len(objects)} objects: all are too thin")
    log.info("%d of %d copies of %d objects fill their pictures enough", len(rows), len(names), len(objects))
    return Album(names, pictures, all_poses.numpy(), rows)


def _plain(record: tuple) -> list:
    return [list(value) if isinstance(value, Sequence) else value for value in record]


def _rng(seed: int, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, index])


def _draw(objects: list[Object], cameras: Cameras, variety: Variety, light: Light | None, file: Path) -> None:
    size, total = cameras.size, len(objects) * variety.variants
    shape = (total, variety.views, size, size, 4 if light else RELIEF_CHANNELS)
    start = shown = time.monotonic()
    with replacing(file) as partial, open(partial, "wb") as handle:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(handle, header)
        for index in range(total):
            rng = _rng(variety.seed, index)
            pose = poses(rng, variety.views, cameras)
            mesh = stretched(objects[index // variety.variants].mesh, rng, variety.stretch)
            for part in pose.split(BATCH):
                seen = camera(part, cameras)
                handle.write((_picture(mesh, seen, light) if light else relief(mesh, seen)).tobytes())
            if time.monotonic() - shown > SECONDS:
                shown = time.monotonic()
                rate = (index + 1) * variety.views / (shown - start)
                log.info("drawing objects: %d of %d, %.0f views a second", index + 1, total, rate)
    seconds = time.monotonic() - start
    log.info("drew %d views in %.0f s, kept in %s", total * variety.views, seconds, file)


def _picture(mesh: Mesh, camera: Camera, light: Light) -> np.ndarray:
    view = draw(mesh, camera, light)
    return (torch.cat([view.rgb, view.alpha], dim=-1) * 255).round().byte().numpy()


def relief(mesh: Mesh, camera: Camera) -> np.ndarray:
    """B H W 9 uint8: colour without light, alpha, depth in two bytes (higher first), normal.

    Depth is counted from DEEPEST in front of the world's origin to DEEPEST behind it; normals are in the
    camera's frame.
    """
    view = draw(mesh, camera, UNLIT)
    assert view.depth is not None and view.normal is not None
    distance = torch.linalg.vector_norm(camera.c2w[:, :3, 3], dim=-1)[:, None, None, None]
    normal = torch.einsum("bji,bhwj->bhwi", camera.c2w[:, :3, :3], view.normal)
    rest = torch.cat([view.rgb, view.alpha, (normal + 1) / 2], dim=-1)
    color, packed = np.split((rest * 255).round().byte().numpy(), [4], axis=-1)
    steps = (((view.depth - distance) / (2 * DEEPEST) + 0.5).clamp(0, 1) * 65535).round().int().numpy()
    depth = np.concatenate([steps >> 8, steps & 255], axis=-1).astype(np.uint8)
    return np.concatenate([color, depth, packed], axis=-1)


def unpacked(pictures: np.ndarray, camera: Camera) -> View:
    """The views of these reliefs (B H W 9), as their cameras saw them; the colour has no light yet."""
    values = torch.from_numpy(pictures).float()
    rgb, alpha, high, low, packed = values.split([3, 1, 1, 1, 3], dim=-1)
    distance = torch.linalg.vector_norm(camera.c2w[:, :3, 3], dim=-1)[:, None, None, None]
    hit = (alpha > 0).float()
    depth = ((256 * high + low) / 65535 - 0.5) * 2 * DEEPEST + distance
    normal = torch.einsum("bij,bhwj->bhwi", camera.c2w[:, :3, :3], F.normalize(packed / 127.5 - 1, dim=-1))
    return View(camera, rgb / 255, alpha / 255, depth * hit, normal * hit)
