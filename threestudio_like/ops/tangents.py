"""Tangent space, in which normal maps are written: x along u, y along v, z along the smooth normal.

Tangents at the corners are those of Mikkelsen (2008), which glTF takes as its standard: a face's direction of
growing u, laid into the plane across the corner's normal, averaged by the angles of the faces there. Between
the corners T and N are interpolated and not made unit again, B = w N x T, and what a map says is
normalize(x T + y B + z N). Maps hold (x, y, z) as (1 + value) / 2, as pictures with v up; z is not negative.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def tangents(
    vertices: Float[Tensor, "T 3"],
    normals: Float[Tensor, "T 3"],
    uv: Float[Tensor, "T 2"],
    faces: Int[Tensor, "F 3"],
) -> Float[Tensor, "T 4"]:
    """T, of unit length and across the unit normal, and w: 1, or -1 where (u, v) is mirrored."""
    p, q = vertices[faces], uv[faces]
    (e1, e2), (d1, d2) = ([x[:, i] - x[:, 0] for i in (1, 2)] for x in (p, q))
    turn = torch.where(d1[:, 0] * d2[:, 1] < d1[:, 1] * d2[:, 0], -1.0, 1.0).to(uv.dtype)[:, None]
    along = turn * (d2[:, 1:] * e1 - d1[:, 1:] * e2)
    n = normals[faces]
    ahead, behind = (_across(p.roll(shift, 1) - p, n) for shift in (-1, 1))
    angle = torch.acos((ahead * behind).sum(-1, keepdim=True).clamp(-1, 1))
    weighed = torch.cat([_across(along[:, None].expand_as(n), n), turn[:, None].expand(-1, 3, 1)], -1) * angle
    total = torch.zeros_like(normals[:, [0, 0, 0, 0]]).index_add(0, faces.reshape(-1), weighed.flatten(0, 1))
    # where no face says, any direction across the normal
    least = F.one_hot(normals.abs().argmin(-1), 3).to(normals.dtype)
    unknown = torch.linalg.vector_norm(total[:, :3], dim=-1, keepdim=True) < 1e-6
    direction = _across(torch.where(unknown, least, total[:, :3]), normals)
    return torch.cat([direction, torch.where(total[:, 3:] < 0, -1.0, 1.0).to(uv.dtype)], dim=-1)


def _across(vectors: Float[Tensor, "*n 3"], normals: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Unit vectors in the planes that unit normals stand on."""
    return F.normalize(vectors - normals * (normals * vectors).sum(-1, keepdim=True), dim=-1, eps=1e-20)


def to_map(
    found: Float[Tensor, "N 3"], normals: Float[Tensor, "N 3"], tangent: Float[Tensor, "N 4"]
) -> Float[Tensor, "N 3"]:
    """What a map must hold so that `from_map` gives the normals `found`, up to their length."""
    t, w = tangent[:, :3], tangent[:, 3:]
    b = w * torch.linalg.cross(normals, t)
    duals = [torch.linalg.cross(*pair) for pair in ((b, normals), (normals, t), (t, b))]
    xyz = torch.stack([(found * dual).sum(-1) for dual in duals], dim=-1) * w
    flat = F.normalize(torch.cat([xyz[:, :2], xyz[:, 2:].clamp(min=0)], dim=-1), dim=-1)
    return (1 + flat) / 2


def from_map(
    colors: Float[Tensor, "N 3"], normals: Float[Tensor, "N 3"], tangent: Float[Tensor, "N 4"]
) -> Float[Tensor, "N 3"]:
    """Unit normals, of what a map says where the interpolated smooth normals and tangents are these."""
    x, y, z = (2 * colors - 1).unsqueeze(-1).unbind(1)
    t, w = tangent[:, :3], tangent[:, 3:]
    return F.normalize(x * t + y * w * torch.linalg.cross(normals, t) + z * normals, dim=-1)
