"""The pictures of an unwrapped surface: the scene evaluated at every texel."""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.export.mesh import split
from threestudio_like.geometry.base import Implicit, Volume
from threestudio_like.ops.mesh import vertex_normals
from threestudio_like.ops.raster import interpolate
from threestudio_like.ops.tangents import tangents, to_map
from threestudio_like.ops.texture import fill
from threestudio_like.ops.uv import texels
from threestudio_like.records import Mesh
from threestudio_like.scene import Scene

log = logging.getLogger(__name__)
CHUNK = 1 << 17  # points evaluated at once


@torch.no_grad()
def baked(scene: Scene, mesh: Mesh, *, size: int, padding: int, normal_map: bool) -> Mesh:
    """The unwrapped mesh with the scene's colour, as seen from straight above, in a square texture.

    With a normal map, if asked for, where the geometry is a field: its gradient is finer than the faces.
    """
    assert mesh.uv is not None and mesh.uv_faces is not None
    fragments = texels(mesh.uv, mesh.uv_faces, size, size)
    covered = fragments.face[0] >= 0
    attributes = torch.cat([mesh.vertices, vertex_normals(mesh.vertices, mesh.faces)], dim=-1)
    points, smooth = interpolate(attributes, fragments, mesh.faces)[0][covered].split(3, dim=-1)

    def picture(values: Float[Tensor, "N 3"]) -> Float[Tensor, "H W 3"]:
        texture = torch.zeros(size, size, 3)
        texture[covered] = values
        return fill(texture, covered, padding)

    mesh = mesh._replace(texture=picture(colors(scene, points, F.normalize(smooth, dim=-1))))
    normals = field_normals(scene.geometry, points) if normal_map else None
    if normal_map and normals is None:
        log.warning("export.normal_map: none is written, as nothing is finer than the surface's own faces")
    if normals is None:
        return mesh
    parts = split(mesh)
    tangent = interpolate(tangents(*parts), fragments, parts.faces)[0][covered]
    return mesh._replace(normal_map=picture(to_map(normals, smooth, tangent)))


def colors(scene: Scene, points: Float[Tensor, "N 3"], normals: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    """The material's colours in chunks, to bound the memory."""
    found = [
        scene.material(scene.geometry.features(point), normal, -normal)  # type: ignore[operator]
        for point, normal in zip(points.split(CHUNK), normals.split(CHUNK), strict=True)
    ]
    return torch.cat(found) if found else points


def field_normals(geometry: nn.Module, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"] | None:
    """Outward normals of a field, of any length; none of a geometry that is no field."""
    if isinstance(geometry, Implicit):
        return torch.cat([geometry.gradient(part) for part in points.split(CHUNK)])
    if isinstance(geometry, Volume):
        inward = [geometry.evaluate(part, gradients=True)[2] for part in points.split(CHUNK)]
        return -torch.cat([part for part in inward if part is not None])
    return None
