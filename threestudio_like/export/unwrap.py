"""A mesh laid flat: cut along the sides of a box, packed into an atlas (xatlas), mended where it folds.

xatlas can cut by itself, but that takes it tens of seconds for a surface of 100,000 faces, in thousands of
pieces; to pack pieces that are already cut takes it one.
"""

from __future__ import annotations

import torch
import xatlas

from threestudio_like.ops.uv import Charts, box_charts, box_sides, hidden
from threestudio_like.records import Mesh

ROUNDS = 4  # of mending; even of a surface that is all noise, one face in a thousand is then left


def unwrapped(mesh: Mesh, *, size: int, padding: int, smoothing: int) -> Mesh:
    """The same mesh with uv in [0, 1], for a texture of `size` texels, pieces `padding` texels apart.

    No two triangles share a texel: a piece that folds over itself is cut again, what is hidden into a layer
    of its own. smoothing: how often normals are averaged before the surface is cut.
    """
    side = box_sides(mesh.vertices, mesh.faces, smoothing)
    layer = torch.zeros_like(side)
    for _ in range(ROUNDS):
        flat = packed(mesh, box_charts(mesh.vertices, mesh.faces, side, layer), size, padding)
        assert flat.uv is not None and flat.uv_faces is not None
        below = hidden(mesh.vertices, mesh.faces, flat.uv, flat.uv_faces, size)
        if not below.any():
            break
        layer = layer + below
    return flat


def packed(mesh: Mesh, charts: Charts, size: int, padding: int) -> Mesh:
    """The charts beside each other in the unit square; those with mirrored faces are cut again by xatlas."""
    atlas = xatlas.Atlas()
    extent = (charts.uv.amax(0) - charts.uv.amin(0)).amax()  # xatlas takes what is small for nothing
    if not extent > 0:
        raise ValueError("unwrap: the mesh has no area")
    # each piece is flat in (u, v) as it lies; xatlas finds pieces by the corners they share
    atlas.add_mesh(
        (mesh.vertices[charts.vertex] / extent).float().numpy(),
        charts.faces.to(torch.uint32).numpy(),
        None,
        (charts.uv / extent).float().numpy(),
    )
    chart, pack = xatlas.ChartOptions(), xatlas.PackOptions()
    chart.use_input_mesh_uvs = True
    pack.resolution, pack.padding = size, padding
    atlas.generate(chart, pack)
    _, uv_faces, uv = atlas[0]
    return mesh._replace(uv=torch.from_numpy(uv.copy()), uv_faces=torch.from_numpy(uv_faces.astype("int64")))
