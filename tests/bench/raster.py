"""Rasterising, interpolating and antialiasing a sphere, forward and backward; and which faces pixels show."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import trimesh
from splat import camera
from timing import Contest, gradients, peer, rows, table
from torch import Tensor

from threestudio_like.ops.camera import rays, world_to_clip
from threestudio_like.ops.raster import antialias, interpolate, rasterize

SUBDIVISIONS = 5  # of an icosahedron: 20,480 faces
SIDES = (128, 512)


class Scene(NamedTuple):
    """A coloured sphere before one camera; vertices and colours are asked for gradients."""

    vertices: Tensor  # V 3
    faces: Tensor  # F 3
    colors: Tensor  # V 3
    side: int
    slope: Tensor  # of the picture, 1 H W 3


def scene(subdivisions: int, side: int) -> Scene:
    """The sphere of radius 0.9, so that all of it is seen."""
    ball = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.9)
    vertices, faces = torch.tensor(ball.vertices).float(), torch.tensor(ball.faces)
    generator = torch.Generator().manual_seed(0)
    slope = torch.randn(1, side, side, 3, generator=generator)
    return Scene(
        vertices.requires_grad_(), faces, (vertices.detach() / 2 + 0.5).requires_grad_(), side, slope
    )


def projected(vertices: Tensor, side: int) -> Tensor:
    """Clip coordinates, 1 V 4."""
    ones = torch.ones_like(vertices[:, :1])
    return torch.cat([vertices, ones], dim=-1)[None] @ world_to_clip(camera(side), 0.1, 10.0).mT


def drawing(given: Scene) -> Contest:
    """Pictures, and gradients to vertices and colours; outlines are antialiased in different ways."""
    inputs = [given.vertices, given.colors]

    def draw(raster: Callable, mix: Callable, smooth: Callable | None) -> Tensor:
        clip = projected(given.vertices, given.side)
        fragments = raster(clip, given.faces, given.side, given.side)
        picture = mix(given.colors, fragments, given.faces)
        return picture if smooth is None else smooth(picture, fragments, clip, given.faces)

    def side(*ops: Any) -> Callable[[], tuple[Tensor, ...]]:
        return lambda: gradients(draw(*ops), given.slope, inputs)

    sides: dict[str, Callable[[], Any]] = {
        "ours": side(rasterize, interpolate, antialias),
        "ours, no antialiasing": side(rasterize, interpolate, None),
        "ours, torch": side(rasterize.reference, interpolate.reference, antialias.reference),
    }
    if peer("deodr"):
        from deodr_peer import Picture

        for whose, sigma in (("deodr", 1.0), ("deodr, no antialiasing", 0.0)):
            sides[whose] = functools.partial(edged, Picture(given.vertices, given.faces, sigma), given)
    if peer("pytorch3d._C"):
        from pytorch3d_peer import picture

        def theirs(count: int) -> Tensor:
            clip = projected(given.vertices, given.side)
            return picture(clip, given.faces, given.colors, given.side, faces_per_pixel=count)

        if given.side <= min(SIDES):
            sides["PyTorch3D, soft, K=8"] = lambda: gradients(theirs(8), given.slope, inputs)
        sides["PyTorch3D, hard, K=1"] = lambda: gradients(theirs(1), given.slope, inputs)
    return Contest(f"rasterise, {len(given.faces)} faces, {given.side} px", sides)


def edged(drawn: Any, given: Scene) -> tuple[Tensor, ...]:
    """deodr's picture, and gradients carried on to the vertices."""
    clip = projected(given.vertices, given.side)
    picture, to_clip, to_colors = drawn.both(clip, given.colors, given.slope[0])
    (to_vertices,) = torch.autograd.grad(clip, given.vertices, to_clip)
    return picture[None], to_vertices, to_colors


def seeing(given: Scene) -> Contest:
    """The face behind each pixel, forward only."""
    vertices = given.vertices.detach()
    clip = projected(vertices, given.side)

    def ours() -> Tensor:
        return rasterize(clip, given.faces, given.side, given.side).face

    sides: dict[str, Callable[[], Any]] = {"ours": ours}
    if peer("embreex.rtcore_scene"):
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        looks = [part.reshape(-1, 3).numpy() for part in rays(camera(given.side))]
        corners, faces = vertices.numpy(), given.faces.numpy().astype(np.int32)

        def built() -> Any:
            tree = EmbreeScene()
            TriangleMesh(tree, corners, faces)
            return tree

        kept = built()
        sides["embreex, tree kept"] = lambda: torch.from_numpy(kept.run(*looks))
        sides["embreex, tree rebuilt"] = lambda: torch.from_numpy(built().run(*looks))
    return Contest(f"faces seen, {len(given.faces)} faces, {given.side} px", sides)


def contests() -> Iterator[Contest]:
    """Two sizes of picture."""
    for side in SIDES:
        yield drawing(scene(SUBDIVISIONS, side))
        yield seeing(scene(SUBDIVISIONS, side))


if __name__ == "__main__":
    print(table(rows(contests())))
