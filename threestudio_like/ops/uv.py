"""Texture space: cutting a mesh into flat pieces, and which triangle each texel shows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.ops.mesh import components
from threestudio_like.ops.raster import Fragments, rasterize


def texels(uv: Float[Tensor, "T 2"], uv_faces: Int[Tensor, "F 3"], height: int, width: int) -> Fragments:
    """The triangle under each texel's centre, B = 1; row 0 is at v = 1, as in a picture file."""
    flat = torch.stack([2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1]], dim=-1)
    positions = torch.cat([flat, torch.zeros_like(flat[:, :1]), torch.ones_like(flat[:, :1])], dim=-1)
    return rasterize(positions[None], uv_faces, height, width)


class Charts(NamedTuple):
    """A mesh cut into pieces that lie flat: T corners, each a vertex in one piece."""

    vertex: Int[Tensor, " T"]
    uv: Float[Tensor, "T 2"]  # in the mesh's units; pieces may lie on each other until they are packed
    faces: Int[Tensor, "F 3"]


def box_charts(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], smoothing: int) -> Charts:
    """Cut where the surface turns from one side of a box to another; project each piece on its side.

    Raw normals would cut an isosurface to shreds, so they are averaged over neighbours `smoothing` times.
    """
    pairs = adjacent(faces)
    normals = torch.linalg.cross(*(vertices[faces[:, i]] - vertices[faces[:, 0]] for i in (1, 2)))
    for _ in range(smoothing):
        near = normals.index_add(0, pairs[:, 0], normals[pairs[:, 1]])
        normals = near.index_add(0, pairs[:, 1], normals[pairs[:, 0]]) / 4
    side = torch.cat([normals, -normals], dim=-1).argmax(-1)
    piece = pieces(len(faces), pairs[side[pairs[:, 0]] == side[pairs[:, 1]]])
    corners = torch.stack([faces.reshape(-1), piece.repeat_interleave(3)], dim=-1)
    unique, inverse = corners.unique(dim=0, return_inverse=True)
    side_of = torch.empty_like(unique[:, 0])
    side_of[inverse] = side.repeat_interleave(3)
    axes = torch.tensor([[1, 2], [2, 0], [0, 1]], device=faces.device)[side_of % 3]
    uv = vertices[unique[:, 0]].gather(1, axes)
    mirrored = torch.where(side_of >= 3, -1.0, 1.0).to(uv.dtype)
    return Charts(unique[:, 0], torch.stack([uv[:, 0] * mirrored, uv[:, 1]], dim=-1), inverse.reshape(-1, 3))


def adjacent(faces: Int[Tensor, "F 3"]) -> Int[Tensor, "P 2"]:
    """Pairs of faces that share an edge (of an edge with more than two faces, each and the next)."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(dim=1).values
    number = edges.unique(dim=0, return_inverse=True)[1]
    order = number.argsort(stable=True)
    owner = order % len(faces)
    same = number[order[1:]] == number[order[:-1]]
    return torch.stack([owner[:-1][same], owner[1:][same]], dim=-1)


def pieces(count: int, pairs: Int[Tensor, "P 2"]) -> Int[Tensor, " count"]:
    """The smallest index connected to each of `count` things by `pairs`."""
    return components(pairs[:, [0, 1, 1]], count)
