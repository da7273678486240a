"""Pictures of a mesh from several samples a pixel: its outline is smooth, and what is inside stays sharp.

A pixel has n x n samples on a grid. Its colour (straight), depth and normal are the means of those that hit
the mesh, and its alpha is their share.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.ops.camera import world_to_clip
from threestudio_like.ops.raster import Fragments, interpolate, rasterize
from threestudio_like.records import Camera, Mesh, View


class Hits(NamedTuple):
    """The M samples of B pictures that hit a mesh, n a pixel's side."""

    fragments: Fragments  # of all samples, B H*n W*n
    view: Int[Tensor, " M"]
    row: Int[Tensor, " M"]  # of H*n
    column: Int[Tensor, " M"]  # of W*n
    face: Int[Tensor, " M"]
    depth: Float[Tensor, "M 1"]  # along the viewing axis

    def interpolated(
        self, attributes: Float[Tensor, "V C"], faces: Int[Tensor, "F 3"]
    ) -> Float[Tensor, "M C"]:
        """Attributes of the vertices, or of whatever else `faces` has at the corners, where it is hit."""
        return interpolate(attributes, self.fragments, faces)[self.view, self.row, self.column]


def hits(mesh: Mesh, camera: Camera, oversampling: int, near: float, far: float) -> Hits:
    """What `oversampling` samples a pixel's side meet between the planes at `near` and `far`."""
    height, width = camera.height * oversampling, camera.width * oversampling
    clip = F.pad(mesh.vertices, (0, 1), value=1.0) @ world_to_clip(camera, near, far).transpose(1, 2)
    fragments = rasterize(clip.contiguous(), mesh.faces, height, width)
    view, row, column = torch.nonzero(fragments.face >= 0, as_tuple=True)
    depth = 2 * far * near / (far + near - fragments.depth[view, row, column] * (far - near))
    return Hits(fragments, view, row, column, fragments.face[view, row, column], depth)


def averaged(camera: Camera, found: Hits, rgb: Float[Tensor, "M 3"], normal: Float[Tensor, "M 3"]) -> View:
    """The pictures, from the colour and the normal of each hit."""
    oversampling = found.fragments.face.shape[1] // camera.height
    row, column = found.row // oversampling, found.column // oversampling
    pixel = (found.view * camera.height + row) * camera.width + column
    values = torch.cat([rgb, found.depth, normal, torch.ones_like(found.depth)], dim=-1)
    sums = values.new_zeros(len(camera.c2w) * camera.height * camera.width, 8).index_add(0, pixel, values)
    sums = sums.view(-1, camera.height, camera.width, 8)
    rgb, depth, normal, count = sums.split([3, 1, 3, 1], dim=-1)
    hit = count.clamp(min=1)
    return View(camera, rgb / hit, count / oversampling**2, depth / hit, F.normalize(normal, dim=-1))
