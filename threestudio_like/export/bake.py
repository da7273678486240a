"""The texture of an unwrapped surface: the scene's colour evaluated at every texel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.ops.mesh import vertex_normals
from threestudio_like.ops.raster import interpolate
from threestudio_like.ops.texture import fill
from threestudio_like.ops.uv import texels
from threestudio_like.records import Mesh
from threestudio_like.scene import Scene

CHUNK = 1 << 17  # points evaluated at once


@torch.no_grad()
def baked(scene: Scene, mesh: Mesh, *, size: int, padding: int) -> Mesh:
    """The unwrapped mesh with the scene's colour, as seen from straight above, in a square texture."""
    assert mesh.uv is not None and mesh.uv_faces is not None
    fragments = texels(mesh.uv, mesh.uv_faces, size, size)
    covered = fragments.face[0] >= 0
    attributes = torch.cat([mesh.vertices, vertex_normals(mesh.vertices, mesh.faces)], dim=-1)
    points, normals = interpolate(attributes, fragments, mesh.faces)[0][covered].split(3, dim=-1)
    normals = F.normalize(normals, dim=-1)
    texture = torch.zeros(size, size, 3)
    texture[covered] = colors(scene, points, normals)
    return mesh._replace(texture=fill(texture, covered, padding))


def colors(scene: Scene, points: Float[Tensor, "N 3"], normals: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    """The material's colours in chunks, to bound the memory."""
    found = [
        scene.material(scene.geometry.features(point), normal, -normal)  # type: ignore[operator]
        for point, normal in zip(points.split(CHUNK), normals.split(CHUNK), strict=True)
    ]
    return torch.cat(found) if found else points
