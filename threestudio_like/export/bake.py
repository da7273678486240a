"""A scene's surface with a texture: packed into an atlas (xatlas), its colour evaluated at every texel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import xatlas
from jaxtyping import Float
from torch import Tensor

from threestudio_like.ops.mesh import vertex_normals
from threestudio_like.ops.raster import interpolate
from threestudio_like.ops.texture import fill
from threestudio_like.ops.uv import box_charts, texels
from threestudio_like.records import Mesh
from threestudio_like.scene import Scene

CHUNK = 1 << 17  # points evaluated at once


def unwrapped(mesh: Mesh, *, size: int, padding: int, smoothing: int) -> Mesh:
    """The same mesh with uv in [0, 1]: no two triangles share a texel, pieces are `padding` texels apart.

    xatlas alone takes 8 s for a rough surface of 16,000 triangles, in 500 pieces; packing pieces that are
    already cut (and cutting again those that fold over themselves) takes it .2 s, in 35.
    """
    charts = box_charts(mesh.vertices, mesh.faces, smoothing)
    atlas = xatlas.Atlas()
    # each piece is flat in (u, v) as it lies; xatlas finds pieces by the corners they share
    atlas.add_mesh(
        mesh.vertices[charts.vertex].float().numpy(),
        charts.faces.to(torch.uint32).numpy(),
        None,
        charts.uv.float().numpy(),
    )
    chart, pack = xatlas.ChartOptions(), xatlas.PackOptions()
    chart.use_input_mesh_uvs = True
    pack.resolution, pack.padding = size, padding
    atlas.generate(chart, pack)
    _, uv_faces, uv = atlas[0]
    return mesh._replace(uv=torch.from_numpy(uv.copy()), uv_faces=torch.from_numpy(uv_faces.astype("int64")))


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
