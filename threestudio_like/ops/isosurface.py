"""Marching tetrahedra on a lattice of the box (Doi and Koide 1991; differentiable: Shen et al. 2021, eq. 3).

The lattice is body-centred cubic: cubes' corners and centres, four tetrahedra around each link between
neighbouring centres (Labelle and Shewchuk 2007). Signed distances are negative inside; 0 counts as outside.
"""

from __future__ import annotations

import functools
from itertools import combinations
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from threestudio_like.ops.dispatch import op

EDGES = tuple(combinations(range(4), 2))  # of a tetrahedron, by its vertices
RING = ((0, 0), (1, 0), (1, 1), (0, 1))  # corners of the square that a link crosses, in turn
KINDS = 14  # of edges that start in one place: 3 links, 8 centre to corner, 3 corner to corner


class Lattice(NamedTuple):
    """Tetrahedra that fill the box [-1, 1]^3 and share whole faces; det > 0."""

    vertices: Float[Tensor, "V 3"]
    tets: Int[Tensor, "K 4"]
    edges: Int[Tensor, "E 2"]  # each once
    tet_edges: Int[Tensor, "K 6"]  # rows of `edges`, in the order of EDGES


@functools.lru_cache(maxsize=4)
def lattice(resolution: int) -> Lattice:
    """As many vertices as a cubic grid of `resolution` cells a side; made once and kept.

    Centres beyond the box's faces are drawn onto them, so the outermost tetrahedra are half as high.
    """
    if resolution < 2:
        raise ValueError(f"isosurface resolution: {resolution} cells a side; at least 2 are needed")
    cubes = round(resolution / 2 ** (1 / 3))  # a side: each has two vertices, a corner and its centre
    side = cubes + 2  # with a layer of cubes on either face
    places = torch.arange(side**3, dtype=torch.int32).view(side, side, side)
    tets, keys = [], []
    for axis in range(3):
        above = places.movedim(axis, 0)[1:, 1:-1, 1:-1].reshape(-1, 1)  # the cube beyond the square
        for ends, lines in _around_link(axis, side):
            tets.append(above + torch.tensor(ends, dtype=torch.int32))
            keys.append(KINDS * above + torch.tensor(lines, dtype=torch.int32))
    slots, numbered = _renumbered(torch.cat(tets), 2 * side**3)
    keys_used, tet_edges = _renumbered(torch.cat(keys), KINDS * side**3)
    edges = torch.searchsorted(slots, _ends(keys_used, side)).int()
    place = slots % side**3
    grid = torch.stack([place // side**2, place // side % side, place % side], dim=-1)
    vertices = (grid - 0.5 * (slots >= side**3)[:, None]) * (2 / cubes) - 1
    return Lattice(vertices.clamp(-1, 1), numbered, edges, tet_edges)


def numbered(vertices: Float[Tensor, "V 3"], tets: Int[Tensor, "K 4"]) -> Lattice:
    """A lattice of these tetrahedra, its edges numbered by their lower vertex, then by their higher one."""
    ends = tets[:, torch.tensor(EDGES, device=tets.device)].long()
    keys = ends.amin(-1) * len(vertices) + ends.amax(-1)
    used, tet_edges = torch.unique(keys, return_inverse=True)
    edges = torch.stack([used // len(vertices), used % len(vertices)], dim=-1)
    return Lattice(vertices, tets, edges.int(), tet_edges.int())


def _around_link(axis: int, side: int) -> list[tuple[list[int], list[int]]]:
    """Vertices and edges of the four tetrahedra around a link, as offsets from the place of the cube above.

    Vertices: corners have the place of the cube above and beyond them, centres side^3 more than their cube's.
    Edges: KINDS times the place of the lower corner or of the (lower) centre, and a kind.
    """
    strides = (side**2, side, 1)
    u, v = (other for other in range(3) if other != axis)
    found = []
    for i in range(4):
        bits, next_bits = RING[i], RING[(i + 1) % 4]
        corner, next_corner = (-sum(strides) + a * strides[u] + b * strides[v] for a, b in (bits, next_bits))
        spoke, next_spoke = (3 + (a << u) + (b << v) for a, b in (bits, next_bits))
        below, below_spoke = -strides[axis], 1 << axis
        line = KINDS * min(corner, next_corner) + 11 + (u if bits[0] != next_bits[0] else v)
        vertices = [below + side**3, side**3, corner, next_corner]
        spokes = [
            KINDS * below + below_spoke + spoke,
            KINDS * below + below_spoke + next_spoke,
            spoke,
            next_spoke,
        ]
        if axis == 1:  # u v axis is then left-handed
            vertices = [vertices[1], vertices[0], corner, next_corner]
            spokes = [*spokes[2:], *spokes[:2]]
        found.append((vertices, [KINDS * below + axis, *spokes, line]))
    return found


def _ends(keys: Int[Tensor, " E"], side: int) -> Int[Tensor, "E 2"]:
    """Slots of the vertices at both ends of edges, the lower first: what the keys of `_around_link` say."""
    strides = (side**2, side, 1)
    spokes = [-sum(strides) + sum(s for k, s in enumerate(strides) if bits >> k & 1) for bits in range(8)]
    offsets = torch.tensor([*(s + side**3 for s in strides), *spokes, *strides])
    place, kind = keys // KINDS, keys % KINDS
    first, second = place + side**3 * (kind < 11), place + offsets[kind]
    return torch.stack([torch.minimum(first, second), torch.maximum(first, second)], dim=-1)


def _renumbered(values: Int[Tensor, "K C"], count: int) -> tuple[Int[Tensor, " U"], Int[Tensor, "K C"]]:
    """The values that occur, ascending, and which of them stands where."""
    used = torch.zeros(count, dtype=torch.bool)
    used.index_fill_(0, values.flatten().long(), True)
    number = used.cumsum(0, dtype=torch.int32) - 1
    return torch.nonzero(used)[:, 0], number.index_select(0, values.flatten()).view_as(values)


@functools.cache
def case_triangles() -> Int[Tensor, "16 6"]:
    """Edges (in the order of EDGES) of the one or two triangles of each case, -1 for none; outward.

    Bit i of a case says that vertex i is inside.
    """
    corners = torch.cat([torch.zeros(1, 3), torch.eye(3)])
    table = torch.full((16, 6), -1)
    for case in range(1, 15):
        inside = [i for i in range(4) if case >> i & 1]
        outside = [i for i in range(4) if not case >> i & 1]
        crossed = [(i, o) for i in inside for o in outside]
        if len(crossed) == 4:
            crossed = [crossed[k] for k in (0, 1, 3, 2)]  # around the quadrilateral
        a, b, c = ((corners[i] + corners[o]) / 2 for i, o in crossed[:3])
        outward = corners[outside].mean(0) - corners[inside].mean(0)
        if torch.linalg.cross(b - a, c - a) @ outward < 0:
            crossed.reverse()
        ids = [EDGES.index((min(pair), max(pair))) for pair in crossed]
        loop = ids if len(ids) == 3 else [ids[k] for k in (0, 1, 2, 0, 2, 3)]
        table[case, : len(loop)] = torch.tensor(loop)
    return table


@op
def marching_tets(
    vertices: Float[Tensor, "V 3"], sdf: Float[Tensor, " V"], lattice: Lattice
) -> tuple[Float[Tensor, "P 3"], Int[Tensor, "F 3"]]:
    """(vertices, faces) of the surface where the distances, linear in each tetrahedron, are zero.

    Closed where it does not leave the box. Gradients go to the lattice's vertices and to the distances; where
    there is no surface both results are empty.
    """
    device = sdf.device
    with torch.no_grad():
        inside = (sdf < 0).to(torch.uint8)
        quads = inside.index_select(0, lattice.tets.to(device).flatten()).view(
            -1, 4
        )  # ten times faster than [ ]
        word = quads.view(torch.int32)[:, 0]  # the four bytes at once
        active = torch.nonzero((word != 0) & (word != 0x01010101))[:, 0]
        case = (quads[active].long() << torch.arange(4, device=device)).sum(-1)
        local = case_triangles().to(device)[case]
        rows = lattice.tet_edges.to(device)[active].long().gather(1, local.clamp_min(0)).view(-1, 3)
        faces = rows[local.view(-1, 3)[:, 0] >= 0]
        crossed = torch.zeros(len(lattice.edges), dtype=torch.bool, device=device)
        crossed[faces.flatten()] = True
        used = torch.nonzero(crossed)[:, 0]
        number = torch.empty(len(lattice.edges), dtype=torch.int64, device=device)
        number[used] = torch.arange(len(used), device=device)
        faces = number[faces]
        a, b = lattice.edges.to(device)[used].long().unbind(-1)
    at_a, at_b = sdf[a, None], sdf[b, None]
    return (vertices[a] * at_b - vertices[b] * at_a) / (at_b - at_a), faces


def enclosed(values: Float[Tensor, " V"], lattice: Lattice, width: int) -> Bool[Tensor, " V"]:
    """Vertices that cannot be reached from the box's faces along edges between values of at least 0.

    What nobody can see into is inside: cavities that a fit to pictures leaves where it was never corrected.
    Ways are closed on which some vertex is `width` edges or less from a value below 0: pores of its skin.
    """
    thick = values < 0
    a, b = lattice.edges.to(values.device).long().unbind(-1)
    near = thick
    for _ in range(width):
        near = _grown(near, a, b)
    border = lattice.vertices.to(values.device).abs().amax(-1) >= 1
    free = ~near | (border & ~thick)
    reached = _flooded(free & border, free, a, b)
    for _ in range(width):  # back to where the way was closed for being near, no further
        reached = _grown(reached, a, b) & ~thick
    return ~reached


def _grown(chosen: Bool[Tensor, " V"], a: Int[Tensor, " E"], b: Int[Tensor, " E"]) -> Bool[Tensor, " V"]:
    """And the vertices an edge away."""
    grown = chosen.clone()
    grown[a[chosen[b]]] = True
    grown[b[chosen[a]]] = True
    return grown


def _flooded(
    start: Bool[Tensor, " V"], free: Bool[Tensor, " V"], a: Int[Tensor, " E"], b: Int[Tensor, " E"]
) -> Bool[Tensor, " V"]:
    """What can be reached from `start` along edges between free vertices."""
    reached = start.clone()
    passable = free[a] & free[b]
    a, b = a[passable], b[passable]
    while True:  # a wave; edges behind it are done with
        at_a, at_b = reached[a], reached[b]
        crossed = at_a != at_b
        if not crossed.any():
            return reached
        reached[a[crossed]] = reached[b[crossed]] = True
        ahead = ~(at_a | at_b)
        a, b = a[ahead], b[ahead]
