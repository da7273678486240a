"""Refined lattices still fill the box once and share whole faces; their surfaces stay closed."""

from __future__ import annotations

import math

import pytest
import torch

from threestudio_like.ops import subdivision
from threestudio_like.ops.isosurface import EDGES, lattice, marching_tets
from threestudio_like.ops.mesh import area, edges, signed_volume
from threestudio_like.ops.subdivision import crossed, subdivide, with_middles


def sphere(points, radius):
    return torch.linalg.vector_norm(points, dim=-1) - radius


def volumes(grid):
    corners = grid.vertices[grid.tets.long()].double()
    spans = corners[:, 1:] - corners[:, :1]
    return (torch.linalg.cross(spans[:, 0], spans[:, 1]) * spans[:, 2]).sum(-1) / 6


def sides(grid):
    """Lengths of each tetrahedron's edges, ascending."""
    lengths = grid.vertices[grid.edges.long()].diff(dim=1)[:, 0].norm(dim=-1)
    return lengths[grid.tet_edges.long()].sort(dim=-1).values


def assert_conforming(grid):
    """Inner faces belong to two tetrahedra, those on the box to one: with a hanging vertex some would not."""
    triples = torch.cat([grid.tets[:, [i for i in range(4) if i != k]] for k in range(4)]).sort(dim=-1).values
    faces, counts = triples.unique(dim=0, return_counts=True)
    on_box = (grid.vertices[faces.long()].abs() == 1).all(1).any(-1)
    assert torch.equal(counts, torch.where(on_box, 1, 2))


def assert_closed(faces):
    """Every directed edge is met by exactly one opposite: a closed manifold but for vertices that touch."""
    sides = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    base = faces.max() + 1
    forth, back = sides[:, 0] * base + sides[:, 1], sides[:, 1] * base + sides[:, 0]
    assert len(forth.unique()) == len(forth)
    assert torch.equal(forth.sort().values, back.sort().values)


def refined(resolution, field, levels):
    """Cut around the surface of a field, looked up anew at each level."""
    grid = lattice(resolution)
    for _ in range(levels):
        grid, _ = subdivide(grid, crossed(field(grid.vertices), grid))
    return grid


def at_random(resolution, share):
    """(a lattice, some of its tetrahedra)."""
    grid = lattice(resolution)
    return grid, torch.rand(len(grid.tets), generator=torch.Generator().manual_seed(resolution)) < share


def test_parts_of_each_case_fill_the_whole():
    corners = torch.cat([torch.zeros(1, 3), torch.eye(3)])
    points = torch.cat([corners, torch.stack([(corners[i] + corners[j]) / 2 for i, j in EDGES])])
    found = []
    for case in sorted(set(subdivision._closures().tolist())):
        parts = subdivision._parts()[case]
        spans = points[parts[parts[:, 0] >= 0]]
        sizes = torch.linalg.det(spans[:, 1:] - spans[:, :1])
        assert sizes.min() > 0 and sizes.sum().item() == pytest.approx(1)
        assert len(sizes) == {0: 1, 1: 2, 2: 4, 3: 4, 6: 8}[case.bit_count()]
        found.append(case.bit_count())
        used = {k for part in parts.tolist() for k in part if k >= 4}
        assert used == {4 + k for k in range(6) if case >> k & 1}
    assert [found.count(count) for count in (0, 1, 2, 3, 6)] == [1, 6, 3, 4, 1]


def test_every_choice_is_closed_by_the_least_that_holds_it():
    closures = subdivision._closures().tolist()
    allowed = set(closures)
    for case, closed in enumerate(closures):
        above = [other for other in allowed if other & case == case]
        assert closed == min(above, key=int.bit_count) and closed & case == case


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_faces_are_shared_and_the_box_is_filled_whatever_is_chosen(share):
    grid, chosen = at_random(6, share)
    finer, parents = subdivide(grid, chosen)
    sizes = volumes(finer)
    assert sizes.min() > 0 and sizes.sum().item() == pytest.approx(8, rel=1e-6)
    assert_conforming(finer)
    ends = finer.tets[:, torch.tensor(EDGES)].sort(dim=-1).values
    assert torch.equal(finer.edges[finer.tet_edges.long()], ends)
    assert len(finer.vertices) == len(grid.vertices) + len(parents)
    assert len(finer.vertices.unique(dim=0)) == len(finer.vertices)


def test_the_chosen_are_cut_in_eight_of_their_own_shape():
    grid, chosen = at_random(5, 0.05)
    chosen &= (grid.vertices[grid.tets.long()].abs() < 1).all(-1).all(-1)  # those at the rim are flatter
    finer, _ = subdivide(grid, chosen)
    shape, found = sides(grid)[chosen][0], sides(finer)
    alike = (found - shape / 2).abs().amax(-1) < 1e-5
    assert alike.sum() >= 8 * chosen.sum() > 0
    assert ((sides(grid) - shape).abs().amax(-1) < 1e-5).float().mean() > 0.5  # all are alike at first


def test_volumes_of_the_parts_sum_to_the_whole_s():
    """One tetrahedron chosen: its eight parts are those inside it."""
    grid = lattice(4)
    chosen = torch.zeros(len(grid.tets), dtype=torch.bool)
    chosen[len(chosen) // 3] = True
    finer, parents = subdivide(grid, chosen)
    assert len(parents) == 6
    own = {*grid.tets[chosen][0].tolist(), *range(len(grid.vertices), len(finer.vertices))}
    inside = torch.tensor([set(tet) <= own for tet in finer.tets.tolist()])
    torch.testing.assert_close(volumes(finer)[inside], volumes(grid)[chosen].expand(8) / 8)
    assert_conforming(finer)


def test_nothing_chosen_changes_nothing():
    grid = lattice(4)
    finer, parents = subdivide(grid, torch.zeros(len(grid.tets), dtype=torch.bool))
    assert torch.equal(finer.tets, grid.tets) and len(parents) == 0


def test_volumes_shrink_by_eight_a_level_at_most_though_the_surface_moves():
    grid = lattice(6)
    smallest = volumes(grid).min()
    for level in (1, 2, 3):
        grid, _ = subdivide(grid, crossed(sphere(grid.vertices - 0.05 * level, 0.5), grid))
        assert volumes(grid).min() > 0.99 * smallest / 8**level
        assert volumes(grid).sum().item() == pytest.approx(8, rel=1e-6)
        assert_conforming(grid)


def test_means_leave_the_surface_where_it_is():
    grid = lattice(8)
    moved = grid.vertices + 0.02 * torch.randn(
        grid.vertices.shape, generator=torch.Generator().manual_seed(0)
    )
    sdf = sphere(moved, 0.6)
    before = marching_tets(moved, sdf, grid)
    finer, parents = subdivide(grid, crossed(sdf, grid))
    after = marching_tets(with_middles(moved, parents), with_middles(sdf, parents), finer)
    assert len(after[1]) > 3 * len(before[1])
    assert_closed(after[1])
    for measure in (area, signed_volume):
        torch.testing.assert_close(measure(*after), measure(*before), rtol=1e-5, atol=0)


def test_the_plane_of_a_linear_field_is_exact():
    normal = torch.nn.functional.normalize(torch.tensor([1.0, 2.0, -0.5]), dim=0)
    grid = lattice(5)
    sdf = grid.vertices @ normal - 0.1234
    finer, parents = subdivide(grid, crossed(sdf, grid))
    vertices, _ = marching_tets(finer.vertices, with_middles(sdf, parents), finer)
    torch.testing.assert_close(vertices @ normal, torch.full((len(vertices),), 0.1234))


def test_noise_on_a_refined_lattice_is_closed():
    """Every vertex on its own side: the surface crosses every border between fine and coarse."""
    grid = refined(7, lambda points: sphere(points, 0.5), levels=2)
    assert len(volumes(grid).log2().round().unique()) > 4
    sdf = torch.randn(len(grid.vertices), generator=torch.Generator().manual_seed(0))
    sdf[(grid.vertices.abs() == 1).any(-1)] = 1.0
    vertices, faces = marching_tets(grid.vertices, sdf, grid)
    assert_closed(faces)
    assert 0 < signed_volume(vertices, faces) < 8


@pytest.mark.parametrize(("tube", "characteristic"), [(None, 2), (0.2, 0)])
def test_surfaces_keep_their_topology_and_wind_outward(tube, characteristic):
    def field(points):
        if tube is None:
            return sphere(points, 0.6)
        ring = torch.linalg.vector_norm(points[:, :2], dim=-1) - 0.55
        return torch.sqrt(ring**2 + points[:, 2] ** 2) - tube

    grid = refined(14, field, levels=1)
    vertices, faces = marching_tets(grid.vertices, field(grid.vertices), grid)
    assert_closed(faces)
    assert len(vertices) - len(edges(faces)) + len(faces) == characteristic
    assert signed_volume(vertices, faces) > 0


def test_a_level_quarters_the_error_like_twice_the_resolution():
    radius, errors = 0.5, []
    for levels in (0, 1, 2):
        grid = refined(12, lambda points: sphere(points, radius), levels)
        surface = marching_tets(grid.vertices, sphere(grid.vertices, radius), grid)
        exact = torch.tensor([4 / 3 * math.pi * radius**3, 4 * math.pi * radius**2])
        errors.append(1 - torch.stack([signed_volume(*surface), area(*surface)]) / exact)
    for coarse, fine in zip(errors, errors[1:], strict=False):
        torch.testing.assert_close(coarse / fine, torch.full((2,), 4.0), rtol=0.2, atol=0)
    whole = lattice(24)
    at_once = marching_tets(whole.vertices, sphere(whole.vertices, radius), whole)
    once = 1 - signed_volume(*at_once) / (4 / 3 * math.pi * radius**3)
    torch.testing.assert_close(once, errors[1][0], rtol=0.3, atol=0)


def test_gradients_go_through_middles():
    grid = lattice(2)
    sdf = sphere(grid.vertices.double(), 0.7)
    finer, parents = subdivide(grid, crossed(sdf, grid))
    sdf = sdf + 0.01 * torch.sin(100 * sdf)

    def surface(vertices, distances):
        return marching_tets(with_middles(vertices, parents), with_middles(distances, parents), finer)[0]

    inputs = (grid.vertices.double().requires_grad_(), sdf.requires_grad_())
    assert torch.autograd.gradcheck(surface, inputs)
