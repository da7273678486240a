"""The texture of an unwrapped surface from pictures with known cameras, where they see it.

A texel's colour is the mean of what the pictures show of its point, weighted by cos^sharpness of the angle
under which they see it, so that those that look straight at it decide. What it was before counts as one
more picture, of a small weight: it stays where no picture sees the surface, and shines through where all look
askance.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.ops.camera import chosen, focal, resized, world_to_clip
from threestudio_like.ops.mesh import vertex_normals
from threestudio_like.ops.raster import interpolate
from threestudio_like.ops.supersample import hits
from threestudio_like.ops.texture import fill, sample
from threestudio_like.ops.uv import texels
from threestudio_like.records import Camera, Mesh, View

NEAR, FAR = 0.1, 20.0
FINER = 2  # samples a pixel's side, of the depth that says what is in front
REACH = 2  # of those samples around a point: what is in front of any of them hides it, as pixels mix colours
BEFORE = 0.01  # the weight of what the texture was
WHOLE = 0.99  # alpha below which a pixel is a mixture with what is behind


class Seen(NamedTuple):
    """What one camera sees of N points."""

    where: Float[Tensor, "N 2"]  # (u, v) in its picture
    cosine: Float[
        Tensor, " N"
    ]  # of the angle to the normal; 0 where the point is hidden or out of the picture


@torch.no_grad()
def painted(mesh: Mesh, views: View, *, padding: int, sharpness: float) -> Mesh:
    """The mesh with the pictures on its texture."""
    assert mesh.uv is not None and mesh.uv_faces is not None and mesh.texture is not None
    fragments = texels(mesh.uv, mesh.uv_faces, *mesh.texture.shape[:2])
    covered = fragments.face[0] >= 0
    attributes = torch.cat([mesh.vertices, vertex_normals(mesh.vertices, mesh.faces)], dim=-1)
    points, normals = interpolate(attributes, fragments, mesh.faces)[0][covered].split(3, dim=-1)
    total = torch.cat([mesh.texture[covered], torch.ones_like(points[:, :1])], dim=-1) * BEFORE
    for index in torch.arange(len(views.rgb)).split(1):
        found = seen(mesh, chosen(views.camera, index), points, F.normalize(normals, dim=-1))
        (some,) = torch.nonzero(found.cosine > 0, as_tuple=True)
        picture = torch.cat([views.rgb[index], views.alpha[index]], dim=-1)[0]
        rgb, alpha = sample(picture, found.where[some]).split([3, 1], dim=-1)
        weight = found.cosine[some, None] ** sharpness * (alpha > WHOLE)
        total.index_add_(0, some, torch.cat([rgb * weight, weight], dim=-1))
    texture = mesh.texture.clone()
    texture[covered] = total[:, :3] / total[:, 3:]
    return mesh._replace(texture=fill(texture, covered, padding))


def seen(mesh: Mesh, camera: Camera, points: Float[Tensor, "N 3"], normals: Float[Tensor, "N 3"]) -> Seen:
    """Where points of the mesh's surface, with unit normals, are in one camera's picture, if it sees them."""
    clip = F.pad(points, (0, 1), value=1.0) @ world_to_clip(camera, NEAR, FAR)[0].T
    depth = clip[:, 3]
    x, y = (clip[:, :2] / depth[:, None].clamp(min=NEAR)).unbind(-1)
    where = torch.stack([(1 + x) / 2, (1 - y) / 2], dim=-1)
    cosine = (F.normalize(camera.c2w[0, :3, 3] - points, dim=-1) * normals).sum(-1)
    fine = resized(camera, camera.height * FINER, camera.width * FINER)
    column, row = ((where[:, 0] * fine.width).long(), ((1 - where[:, 1]) * fine.height).long())
    inside = (column >= 0) & (column < fine.width) & (row >= 0) & (row < fine.height) & (depth > NEAR)
    front = hits(mesh, fine, 1, NEAR, FAR)
    nearest = points.new_full((1, fine.height, fine.width), FAR)
    nearest[front.view, front.row, front.column] = front.depth[:, 0]
    nearest = -F.max_pool2d(-nearest, 2 * REACH + 1, stride=1, padding=REACH)[0]
    # how much deeper a slanted surface is at the farthest of the samples around a point, and a half more
    slope = (REACH + 1) * depth / focal(fine) / cosine.clamp(min=1e-3)
    before = nearest[row.clamp(0, fine.height - 1), column.clamp(0, fine.width - 1)]
    visible = inside & (cosine > 0) & (depth - before < 1.5 * slope)
    return Seen(where, torch.where(visible, cosine, 0.0))
