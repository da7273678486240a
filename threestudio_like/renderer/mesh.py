"""Meshes by differentiable rasterisation (Laine et al. 2020), the colours of the covered pixels only."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.geometry.base import Explicit
from threestudio_like.ops.camera import rays, world_to_clip
from threestudio_like.ops.mesh import vertex_normals
from threestudio_like.ops.raster import antialias, interpolate, rasterize
from threestudio_like.records import Camera, Mesh, Render
from threestudio_like.scene import Scene


class MeshRenderer(nn.Module):
    """For explicit geometries; has nothing to learn or to set. Silhouettes get gradients by antialiasing."""

    def forward(self, scene: Scene, camera: Camera, step: int, mesh: Mesh | None = None) -> Render:
        """The scene over its background; an empty mesh shows the background, with gradients of zero.

        mesh: the scene's, where it has just been made; one backward pass then serves all that share it.
        """
        geometry = scene.geometry
        if not isinstance(geometry, Explicit):
            raise ValueError(f"renderer mesh: takes an explicit geometry, not {type(geometry).__name__}")
        mesh = geometry.mesh() if mesh is None else mesh
        directions = rays(camera).directions
        background = scene.background(directions)
        if len(mesh.faces) == 0:
            nothing = torch.zeros_like(background) + mesh.vertices.sum()
            return Render(background + nothing, nothing[..., :1], nothing[..., :1], nothing, mesh=mesh)
        clip = clip_positions(mesh.vertices, camera, geometry.radius)
        fragments = rasterize(clip, mesh.faces, camera.height, camera.width)
        attributes = torch.cat([mesh.vertices, vertex_normals(mesh.vertices, mesh.faces)], dim=-1)
        positions, normal = interpolate(attributes, fragments, mesh.faces).split(3, dim=-1)
        covered = fragments.face >= 0
        normal = F.normalize(normal, dim=-1)
        colors = scene.material(geometry.features(positions[covered]), normal[covered], directions[covered])
        rgb = background.index_put(torch.nonzero(covered, as_tuple=True), colors)
        mask = covered[..., None].to(rgb.dtype)
        rgba = antialias(torch.cat([rgb, mask], dim=-1), fragments, clip, mesh.faces)
        away = positions - camera.c2w[:, None, None, :3, 3]
        depth = -(away * camera.c2w[:, None, None, :3, 2]).sum(-1, keepdim=True) * mask
        return Render(rgba[..., :3], rgba[..., 3:], depth, normal * mask, mesh=mesh)


def clip_positions(vertices: Float[Tensor, "V 3"], camera: Camera, radius: float) -> Float[Tensor, "B V 4"]:
    """Projected; near and far enclose the box wherever the cameras stand."""
    distance = torch.linalg.vector_norm(camera.c2w[:, :3, 3], dim=-1)
    reach = math.sqrt(3) * radius
    far = float(distance.max()) + reach
    near = max(float(distance.min()) - reach, 1e-2 * far)
    homogeneous = F.pad(vertices, (0, 1), value=1.0)
    return torch.einsum("bij,vj->bvi", world_to_clip(camera, near, far), homogeneous)
