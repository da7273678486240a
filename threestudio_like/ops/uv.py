"""Texture space: cutting a mesh into flat pieces, and which triangle each texel shows."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from threestudio_like.ops.mesh import area, components, neighbours
from threestudio_like.ops.raster import Fragments, interpolate, rasterize

STEEP = 0.2  # cosine to its side's axis below which a face is laid on a side of its own: 5 times its length
LOST = 4  # texels from where it should be at which a point counts as hidden; a rim is off by one
# weights of the points at which a face is looked for: its middle, and towards each corner
SPOTS = ((1 / 3, 1 / 3, 1 / 3), (2 / 3, 1 / 6, 1 / 6), (1 / 6, 2 / 3, 1 / 6), (1 / 6, 1 / 6, 2 / 3))


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


def box_sides(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], smoothing: int) -> Int[Tensor, " F"]:
    """The side of a box that each face looks to: 0, 1, 2 for +x, +y, +z and 3, 4, 5 for -x, -y, -z.

    Raw normals would cut an isosurface to shreds, so they are averaged over neighbours `smoothing` times.
    A face that would lie too steep on the side of its neighbourhood goes to its own.
    """
    own = torch.linalg.cross(*(vertices[faces[:, i]] - vertices[faces[:, 0]] for i in (1, 2)))
    near, normals = neighbours(faces) // 3, own
    some = (near >= 0)[..., None]
    for _ in range(smoothing):
        normals = (normals + (normals[near] * some).sum(1)) / 4
    side = torch.cat([normals, -normals], dim=-1).argmax(-1)
    cosines = F.normalize(own, dim=-1)
    cosines = torch.cat([cosines, -cosines], dim=-1)
    steep = cosines.gather(1, side[:, None])[:, 0] < STEEP
    return torch.where(steep, cosines.argmax(-1), side)


def box_charts(
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    side: Int[Tensor, " F"],
    layer: Int[Tensor, " F"],
) -> Charts:
    """Cut where the side or the layer changes; project each piece along its side, as seen from outside."""
    pairs = adjacent(faces)
    label = 6 * layer + side
    piece = pieces(len(faces), pairs[label[pairs[:, 0]] == label[pairs[:, 1]]])
    corners = faces * len(faces) + piece[:, None]
    unique, inverse = torch.unique(corners, return_inverse=True)
    vertex, of = unique // len(faces), label[unique % len(faces)]  # a piece's name is one of its faces
    axes = torch.tensor([[1, 2], [2, 0], [0, 1]], device=faces.device)[of % 3]
    u, v = vertices[vertex].gather(1, axes).unbind(-1)
    # layers lie beside each other: what touches in space and in (u, v) is one piece to a packer
    apart = 2 * (vertices.amax() - vertices.amin()) * (of // 6)
    return Charts(vertex, torch.stack([torch.where(of % 6 < 3, u, -u) + apart, v], dim=-1), inverse)


def hidden(
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    uv: Float[Tensor, "T 2"],
    uv_faces: Int[Tensor, "F 3"],
    size: int,
) -> Bool[Tensor, " F"]:
    """Faces over which a texture of `size` texels a side shows another part of the surface."""
    fragments = texels(uv, uv_faces, size, size)
    covered = fragments.face[0] >= 0
    texel = (area(vertices, faces) / covered.sum().clamp(min=1)).sqrt()
    spots = torch.tensor(SPOTS, dtype=uv.dtype, device=uv.device)
    u, v = torch.einsum("sk,fkc->cfs", spots, uv[uv_faces])
    row, column = (((1 - v) * size).long().clamp(0, size - 1), (u * size).long().clamp(0, size - 1))
    shown = interpolate(vertices, fragments, faces)[0][row, column]
    away = torch.linalg.vector_norm(shown - torch.einsum("sk,fkc->fsc", spots, vertices[faces]), dim=-1)
    return ((away > LOST * texel) & covered[row, column]).any(-1)


def adjacent(faces: Int[Tensor, "F 3"]) -> Int[Tensor, "P 2"]:
    """Pairs of faces that share a side, the lower first; not where more than two meet."""
    near = neighbours(faces) // 3
    one = torch.arange(len(faces), device=faces.device)[:, None].expand_as(near)
    return torch.stack([one[near > one], near[near > one]], dim=-1)


def pieces(count: int, pairs: Int[Tensor, "P 2"]) -> Int[Tensor, " count"]:
    """The smallest index connected to each of `count` things by `pairs`."""
    return components(pairs[:, [0, 1, 1]], count)
