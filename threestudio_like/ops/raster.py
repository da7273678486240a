"""Triangles to pixels and back: rasterize, interpolate and antialias after Laine et al. 2020, sections 3.1-3.4.

Clip space is OpenGL's, row 0 of a picture is at clip y = -1, and pixel (r, c) is sampled at its centre. Every test
is made in homogeneous coordinates (Olano and Greer 1997), so a triangle may reach behind the camera: with p_i =
(x, y, w) of its vertices and P = (X, Y, 1) the pixel, e_i = det(p_j, p_k, P) are the edge functions, e_i / (e_0 +
e_1 + e_2) the perspective-correct barycentric weights, and sum e_i z_i / det(p_0, p_1, p_2) is z / w.
Edge functions cancel, so they are computed in float64 whatever the positions are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from threestudio_like.ops.dispatch import op

CHUNK = 64  # faces tested at once by the reference


class Fragments(NamedTuple):
    """What each pixel of B pictures shows."""

    barycentric: Float[Tensor, "B H W 2"]  # weights of the face's vertices 0 and 1; differentiable
    depth: Float[Tensor, "B H W 1"]  # z / w in clip space; 0 where nothing is
    face: Int[Tensor, "B H W"]  # -1 where nothing is


def _centres(count: int, device: torch.device) -> Float[Tensor, " count"]:
    """Clip coordinates of the middles of `count` pixels."""
    return (2.0 * torch.arange(count, dtype=torch.float64, device=device) + 1.0) / count - 1.0


def _edge_functions(corners: Float[Tensor, "*n 3 4"]) -> Float[Tensor, "*n 3 3"]:
    """Coefficients (a, b, c) of e_i = a X + b Y + c; exactly opposite for two triangles that share the edge."""
    x, y, _, w = corners.unbind(-1)
    (x1, y1, w1), (x2, y2, w2) = ([v.roll(shift, -1) for v in (x, y, w)] for shift in (-1, -2))
    return torch.stack([y1 * w2 - y2 * w1, w1 * x2 - w2 * x1, x1 * y2 - x2 * y1], dim=-1)


def _covered(
    corners: Float[Tensor, "B N 3 4"], height: int, width: int
) -> tuple[Bool[Tensor, "B N H W"], Float[Tensor, "B N H W"]]:
    """Which pixels each triangle covers between the near and the far plane, by the top-left rule, and z / w there."""
    abc = _edge_functions(corners)
    det = (abc[:, :, 0] * corners[:, :, 0, [0, 1, 3]]).sum(-1)
    abc = abc * det.sign()[:, :, None, None]
    a, b, c = abc[..., None, None].unbind(3)
    x, y = _centres(width, abc.device), _centres(height, abc.device)[:, None]
    e = a * x + (b * y + c)  # B N 3 H W
    top_left = (a > 0) | ((a == 0) & (b > 0))
    inside = ((e > 0) | ((e == 0) & top_left)).all(2) & (det != 0)[:, :, None, None]
    depth = (e * corners[..., 2, None, None]).sum(2) / det.abs()[:, :, None, None]
    return inside & (depth.abs() <= 1), depth


def _visible(
    positions: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], height: int, width: int
) -> tuple[Int[Tensor, "B H W"], Float[Tensor, "B H W"]]:
    """The nearest face of each pixel, the first of them where several are as near; and its z / w."""
    nearest = positions.new_full((len(positions), height, width), torch.inf)
    face = torch.full_like(nearest, -1, dtype=torch.int64)
    for start in range(0, len(faces), CHUNK):
        inside, depth = _covered(positions[:, faces[start : start + CHUNK]].double(), height, width)
        depth, index = torch.where(inside, depth, torch.inf).to(nearest.dtype).min(dim=1)
        closer = depth < nearest
        nearest, face = torch.where(closer, depth, nearest), torch.where(closer, index + start, face)
    return face, torch.where(face < 0, 0.0, nearest)


@op
def rasterize(
    positions: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], height: int, width: int
) -> Fragments:
    """The nearest face at each pixel's centre; gradients flow from the barycentric weights to the positions."""
    with torch.no_grad():
        face, depth = _visible(positions, faces, height, width)
    b, r, c = torch.nonzero(face >= 0, as_tuple=True)
    abc = _edge_functions(positions[b[:, None], faces[face[b, r, c]]].double())
    x, y = _centres(width, abc.device)[c], _centres(height, abc.device)[r]
    e = abc[:, :, 0] * x[:, None] + (abc[:, :, 1] * y[:, None] + abc[:, :, 2])
    weights = (e[:, :2] / e.sum(-1, keepdim=True)).to(positions.dtype)
    barycentric = positions.new_zeros(*face.shape, 2).index_put((b, r, c), weights)
    return Fragments(barycentric, depth[..., None], face)


@op
def interpolate(
    attributes: Float[Tensor, "V C"] | Float[Tensor, "B V C"], fragments: Fragments, faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "B H W C"]:
    """Attributes of the vertices at each pixel, 0 where nothing is; gradients to attributes and barycentrics."""
    face = fragments.face
    b, r, c = torch.nonzero(face >= 0, as_tuple=True)
    corners = faces[face[b, r, c]]
    values = attributes[corners] if attributes.ndim == 2 else attributes[b[:, None], corners]
    u, v = fragments.barycentric[b, r, c].unsqueeze(-1).unbind(1)
    mixed = u * values[:, 0] + v * values[:, 1] + (1 - u - v) * values[:, 2]
    return attributes.new_zeros(*face.shape, attributes.shape[-1]).index_put((b, r, c), mixed)
