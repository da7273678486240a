"""Volume subdivision: chosen tetrahedra are cut in eight (Shen et al. 2021, section 3.1), cracks closed by
red-green refinement (Bank et al. 1983).

An edge is halved or it is not, and a face with two halved edges gets its third one halved. What remains are
tetrahedra with none, one, two opposite, a face's three or all six edges halved. A face then has one way to be
cut, in one, two or four, so that the tetrahedra on both its sides agree.
"""

from __future__ import annotations

import functools

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from threestudio_like.ops.isosurface import EDGES, Lattice, numbered

FACES = tuple(tuple(k for k, ends in enumerate(EDGES) if corner not in ends) for corner in range(4))  # edges
# Around the octahedron that is left when the corners are cut off. Its diagonal joins the middles of the first
# edge and the last: the long ones of our lattice, so that all eight parts have the shape of the whole.
AROUND = ((5, 6), (6, 8), (8, 7), (7, 5))


def crossed(sdf: Float[Tensor, " V"], lattice: Lattice) -> Bool[Tensor, " K"]:
    """The tetrahedra that the surface goes through: those with vertices on both sides of it."""
    inside = (sdf < 0)[lattice.tets.long()].sum(-1)
    return (inside > 0) & (inside < 4)


def subdivide(lattice: Lattice, chosen: Bool[Tensor, " K"]) -> tuple[Lattice, Int[Tensor, "M 2"]]:
    """(the lattice with the chosen tetrahedra cut in eight, both ends of each halved edge).

    The middles of those edges come after the vertices that were there. Neighbours of the chosen are cut too,
    in two, four or eight, so that tetrahedra still share whole faces. Orientations are kept.
    """
    halved, case = _closed(lattice, chosen)
    parents = lattice.edges[halved].long()
    number = len(lattice.vertices) + halved.cumsum(0, dtype=torch.int32) - 1
    cut = case > 0
    local = torch.cat([lattice.tets[cut], number[lattice.tet_edges[cut].long()]], dim=-1)
    parts = _parts().to(case.device)[case[cut]]
    inside_of = torch.nonzero(parts[..., 0] >= 0)[:, 0]  # the whole of each part
    children = local[inside_of].gather(1, parts[parts[..., 0] >= 0])
    tets = torch.cat([lattice.tets[~cut], children])
    return numbered(with_middles(lattice.vertices, parents), tets), parents


def with_middles(values: Float[Tensor, "V ..."], parents: Int[Tensor, "M 2"]) -> Float[Tensor, "W ..."]:
    """The vertices' values, and after them the means of both ends of the halved edges; W = V + M."""
    return torch.cat([values, values[parents].mean(1)])


def _closed(lattice: Lattice, chosen: Bool[Tensor, " K"]) -> tuple[Bool[Tensor, " E"], Int[Tensor, " K"]]:
    """(the edges to halve, and which of each tetrahedron's they are: bit k for its edge k)."""
    tet_edges = lattice.tet_edges.long()
    bits = torch.arange(6, device=chosen.device)
    halved = torch.zeros(len(lattice.edges), dtype=torch.bool, device=chosen.device)
    halved[tet_edges[chosen].flatten()] = True
    while True:
        case = (halved[tet_edges] << bits).sum(-1)
        wanted = _closures().to(case.device)[case]
        short = wanted != case
        if not short.any():
            return halved, case
        halved[tet_edges[short][(wanted[short, None] >> bits & 1).bool()]] = True


@functools.cache
def _closures() -> Int[Tensor, " 64"]:
    """Of each case the least one that holds it and has no face with exactly two halved edges."""

    def closed(case: int) -> int:
        for face in FACES:
            bits = sum(1 << edge for edge in face)
            if (case & bits).bit_count() == 2:
                return closed(case | bits)
        return case

    return torch.tensor([closed(case) for case in range(64)])


@functools.cache
def _parts() -> Int[Tensor, "64 8 4"]:
    """The up to eight parts of each case that can occur, -1 for none; 0 to 3 are vertices, 4 + k middles."""
    table = torch.full((64, 8, 4), -1)
    for case in set(_closures().tolist()):
        parts = _cut([edge for edge in range(6) if case >> edge & 1])
        table[case, : len(parts)] = torch.tensor(parts)
    return table


def _cut(halved: list[int]) -> list[list[int]]:
    """What replaces a vertex takes its place among the four, so that orientations are kept."""
    if len(halved) < 3:  # one after the other: no face has two
        parts = [[0, 1, 2, 3]]
        for edge in halved:
            parts = [_moved(part, {end: 4 + edge}) for part in parts for end in EDGES[edge]]
        return parts
    between = {frozenset(EDGES[edge]): 4 + edge for edge in halved}
    corners = sorted({end for edge in halved for end in EDGES[edge]})
    parts = [
        _moved([0, 1, 2, 3], {end: between[frozenset((end, corner))] for end in corners if end != corner})
        for corner in corners
    ]
    if len(corners) == 4:
        return parts + [[4, 9, *pair] for pair in AROUND]
    across = {end: between[frozenset(set(corners) - {end})] for end in corners}
    return [*parts, _moved([0, 1, 2, 3], across)]


def _moved(part: list[int], places: dict[int, int]) -> list[int]:
    return [places.get(vertex, vertex) for vertex in part]
