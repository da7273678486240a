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
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.ops.camera import resized, world_to_clip
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
    count, height, width = len(camera.c2w), camera.height * OVERSAMPLING, camera.width * OVERSAMPLING
    homogeneous = F.pad(mesh.vertices, (0, 1), value=1.0)
    clip = homogeneous @ world_to_clip(camera, NEAR, FAR).transpose(1, 2)
    fragments = rasterize(clip.contiguous(), mesh.faces, height, width)
    hit = (fragments.face >= 0)[..., None].float()
    depth = 2 * FAR * NEAR / (FAR + NEAR - fragments.depth * (FAR - NEAR))
    normal = facing_normals(mesh, fragments.face, resized(camera, height, width))
    lamp = F.normalize(torch.tensor(list(light.direction)), dim=0)
    shade = light.ambient + light.diffuse * (1 + (normal @ lamp)[..., None]) / 2
    rgb = (interpolate(albedo, fragments, mesh.faces) * shade).clamp(max=1)
    sums = pooled(torch.cat([rgb, depth, normal, torch.ones_like(depth)], dim=-1) * hit)
    rgb, depth, normal, alpha = sums.split([3, 1, 3, 1], dim=-1)
    cover = alpha.clamp(min=1e-6)
    assert rgb.shape == (count, camera.height, camera.width, 3)
    return View(camera, rgb / cover, alpha, depth / cover, F.normalize(normal, dim=-1))


def pooled(image: Float[Tensor, "B H W C"]) -> Float[Tensor, "B h w C"]:
    """The mean of each OVERSAMPLING x OVERSAMPLING pixels."""
    return F.avg_pool2d(image.permute(0, 3, 1, 2), OVERSAMPLING).permute(0, 2, 3, 1)


def facing_normals(mesh: Mesh, face: Int[Tensor, "B H W"], camera: Camera) -> Float[Tensor, "B H W 3"]:
    """Normals of the faces hit, turned towards the camera: winding in found files cannot be trusted."""
    normals = face_normals(mesh.vertices, mesh.faces)[face.clamp(min=0)]
    focal = 0.5 * camera.height / torch.tan(0.5 * camera.fov_y)[:, None, None]
    rows = torch.arange(camera.height) + 0.5 - 0.5 * camera.height
    columns = torch.arange(camera.width) + 0.5 - 0.5 * camera.width
    # the face looks at the camera where its normal, in camera axes, points against the pixel's ray
    local = torch.einsum("bij,bhwi->bhwj", camera.c2w[:, :3, :3], normals)
    x, y = columns / focal, -rows[:, None] / focal
    away = (local[..., 0] * x + local[..., 1] * y - local[..., 2]) > 0
    return torch.where(away[..., None], -normals, normals)
