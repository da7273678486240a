"""Pictures of a mesh under a light fixed in the world: what the small priors are trained on.

rgb = albedo (ambient + diffuse (1 + n . l) / 2), l the direction to the light: wrapped around (half Lambert:
Mitchell, McTaggart and Green 2006), so that faces turned away from the lamp still differ. Faces are seen from
both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.ops.camera import world_to_clip
from threestudio_like.ops.mesh import face_normals
from threestudio_like.ops.raster import interpolate, rasterize
from threestudio_like.records import Camera, Mesh, View

NEAR, FAR = 0.1, 10.0
OVERSAMPLING = 2  # a side; the pixels' mean then smooths the outline


class Light(NamedTuple):
    """A distant lamp and light from everywhere; white, both."""

    direction: Sequence[float]  # from the object towards the lamp, world frame
    ambient: float
    diffuse: float


def draw(mesh: Mesh, camera: Camera, light: Light) -> View:
    """Straight colour, alpha, depth and normal of a mesh with colours at its vertices; no gradients."""
    if mesh.rgb is None:
        raise ValueError("draw: the mesh has no colours at its vertices")
    with torch.no_grad():
        return _draw(mesh, mesh.rgb, camera, light)


def _draw(mesh: Mesh, albedo: Float[Tensor, "V 3"], camera: Camera, light: Light) -> View:
    height, width = camera.height * OVERSAMPLING, camera.width * OVERSAMPLING
    clip = F.pad(mesh.vertices, (0, 1), value=1.0) @ world_to_clip(camera, NEAR, FAR).transpose(1, 2)
    fragments = rasterize(clip.contiguous(), mesh.faces, height, width)
    b, row, column = torch.nonzero(fragments.face >= 0, as_tuple=True)
    face = fragments.face[b, row, column]
    depth = 2 * FAR * NEAR / (FAR + NEAR - fragments.depth[b, row, column] * (FAR - NEAR))
    # winding in found files cannot be trusted: a face looks towards the camera that sees it
    normal = face_normals(mesh.vertices, mesh.faces)[face]
    towards = camera.c2w[b, :3, 3] - mesh.vertices[mesh.faces[face, 0]]
    normal = torch.where((normal * towards).sum(-1, keepdim=True) < 0, -normal, normal)
    lamp = F.normalize(torch.tensor(list(light.direction)), dim=0)
    shade = light.ambient + light.diffuse * (1 + (normal @ lamp)[:, None]) / 2
    rgb = interpolate(albedo, fragments, mesh.faces)[b, row, column] * shade
    values = torch.cat([rgb.clamp(max=1), depth, normal, torch.ones_like(depth)], dim=-1)
    pixel = (b * camera.height + row // OVERSAMPLING) * camera.width + column // OVERSAMPLING
    sums = values.new_zeros(len(clip) * camera.height * camera.width, 8).index_add(0, pixel, values)
    rgb, depth, normal, count = sums.view(-1, camera.height, camera.width, 8).split([3, 1, 3, 1], dim=-1)
    hit = count.clamp(min=1)
    return View(camera, rgb / hit, count / OVERSAMPLING**2, depth / hit, F.normalize(normal, dim=-1))
