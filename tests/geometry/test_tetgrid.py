"""The tetrahedral grid: a sphere at first, bounded deformation, gradients, and what freezing keeps."""

import pytest
import torch
from grids import small_hashgrid

from threestudio_like.geometry.tetgrid import TetGrid
from threestudio_like.ops.mesh import area, edges, signed_volume


def small_grid(**changes) -> TetGrid:
    torch.manual_seed(0)
    encoding = small_hashgrid()
    settings = {
        "radius": 0.75,
        "num_features": 3,
        "width": 16,
        "depth": 1,
        "resolution": 16,
        "subdivisions": 0,
    }
    settings |= {"sphere_radius": 0.4, "frozen": False, "min_component": 0.01} | changes
    return TetGrid(encoding=encoding, **settings)


def test_it_is_a_sphere_at_first():
    mesh = small_grid().mesh()
    assert (mesh.vertices.norm(dim=-1) - 0.4).abs().max() < 0.015
    ball = 4 / 3 * torch.pi * 0.4**3
    assert signed_volume(mesh.vertices, mesh.faces).item() == pytest.approx(ball, rel=0.05)


def test_the_box_scales_it():
    grid = small_grid()
    grid.lower.copy_(torch.tensor([0.0, -0.5, -0.25]))
    grid.upper.copy_(torch.tensor([0.5, 0.5, 0.25]))
    extent = grid.mesh().vertices.amax(0) - grid.mesh().vertices.amin(0)
    torch.testing.assert_close(extent, 0.8 / 1.5 * torch.tensor([0.5, 1.0, 0.5]), atol=0.01, rtol=0)


def test_a_vertex_moves_less_than_half_a_cell():
    grid = small_grid()
    start = grid.vertices().detach()
    with torch.no_grad():
        grid.deformation.fill_(100.0)
    moved = grid.vertices() - start
    torch.testing.assert_close(moved, torch.full_like(moved, 0.5 * 1.5 / 16))


def test_the_surface_has_gradients():
    grid = small_grid()
    mesh = grid.mesh()
    signed_volume(mesh.vertices, mesh.faces).backward()
    near = grid.distance.abs() < 0.05
    assert (grid.distance.grad[near] < 0).float().mean() > 0.8  # a larger distance is a smaller object
    assert grid.deformation.grad.abs().sum() > 0
    assert grid.distance.grad[grid.distance.abs() > 0.2].eq(0).all()


def test_frozen_geometry_is_kept_until_it_is_written():
    grid = small_grid(frozen=True)
    assert not grid.distance.requires_grad and not grid.deformation.requires_grad
    first = grid.mesh()
    assert grid.mesh() is first and not first.vertices.requires_grad
    grid.load_state_dict(small_grid(sphere_radius=0.3).state_dict())
    assert grid.mesh().vertices.norm(dim=-1).max() < 0.35
    trained = [name for name, parameter in grid.named_parameters() if parameter.requires_grad]
    assert trained and all(name.startswith(("encoding", "feature")) for name in trained)


def test_cleaning_drops_a_small_part():
    grid = small_grid(min_component=0.2)
    with torch.no_grad():
        corner = (grid.vertices() - 0.6).norm(dim=-1) - 0.1
        grid.distance.copy_(torch.minimum(grid.distance, corner))
    assert grid.mesh().vertices.max() > 0.65  # while it is trained, everything is shown
    assert grid.surface(0).vertices.max() < 0.45


def test_no_surface():
    grid = small_grid()
    with torch.no_grad():
        grid.distance.fill_(1.0)
    assert len(grid.mesh().faces) == 0
    assert len(grid.crossings()) == 0
    with pytest.raises(ValueError, match="no surface"):
        grid.surface(16)


def test_crossings_are_pairs_of_opposite_sign():
    pairs = small_grid().crossings()
    assert len(pairs) > 0 and pairs.requires_grad
    assert (pairs[:, 0] > 0).ne(pairs[:, 1] > 0).all()


def bent_grid(**changes) -> TetGrid:
    """Deformed, with distances that are no sphere's any more."""
    grid = small_grid(**changes)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        grid.deformation.copy_(0.3 * torch.randn(grid.deformation.shape, generator=generator))
        grid.distance.add_(0.02 * torch.randn(grid.distance.shape, generator=generator))
    return grid


def test_subdivided_it_is_a_better_sphere():
    ball = 4 / 3 * torch.pi * 0.4**3
    missing = []
    for subdivisions in (0, 1, 2):
        surface = small_grid(resolution=8, subdivisions=subdivisions).mesh()
        missing.append(1 - signed_volume(surface.vertices, surface.faces).item() / ball)
        assert len(surface.vertices) - len(edges(surface.faces)) + len(surface.faces) == 2
    assert missing[0] > 3 * missing[1] > 9 * missing[2] > 0


def test_subdividing_keeps_the_surface_and_halves_what_vertices_may_move():
    grid = bent_grid()
    before, places = grid.mesh(), grid.vertices()
    num_vertices, reach = len(grid.distance), grid.reach.max().item()
    grid.subdivide()
    after = grid.mesh()
    assert len(grid.distance) > num_vertices and len(after.faces) > 3 * len(before.faces)
    torch.testing.assert_close(grid.vertices()[:num_vertices], places, atol=1e-5, rtol=0)
    for measure in (area, signed_volume):
        torch.testing.assert_close(measure(*after[:2]), measure(*before[:2]), rtol=1e-4, atol=0)
    crossing = (grid.distance[grid.tets.long()] < 0).sum(-1) % 4 > 0
    assert (grid.reach[grid.tets[crossing].long()] == reach / 2).all()
    assert grid.reach.max() == reach  # far from the surface, nothing has changed
    (after.vertices**2).sum().backward()
    assert grid.distance.grad[num_vertices:].abs().sum() > 0 and grid.deformation.grad.abs().sum() > 0


@pytest.mark.parametrize("frozen", [False, True])
def test_a_subdivided_lattice_is_saved_and_loaded(frozen):
    source = bent_grid(subdivisions=1, resolution=8)
    target = small_grid(subdivisions=1, resolution=8, sphere_radius=0.2, frozen=frozen)
    assert len(target.distance) != len(source.distance)
    target.mesh()
    target.load_state_dict(source.state_dict())
    assert torch.equal(target.distance, source.distance) and target.distance.requires_grad != frozen
    ours, theirs = target.mesh(), source.mesh()
    assert frozen or torch.equal(ours.faces, theirs.faces)
    assert frozen or torch.equal(ours.vertices, theirs.vertices)
    assert torch.equal(target.surface(0).vertices, source.surface(0).vertices)
    plain = small_grid(resolution=8).state_dict()
    assert not {"places", "tets", "reach", "edges"} & set(plain)  # the resolution says it all
    with pytest.raises(RuntimeError, match="Missing key"):
        target.load_state_dict(plain)


def test_distances_of_any_point_are_linear_between_vertices():
    grid = bent_grid()
    inner = (grid.places.abs() < 0.9).all(-1)  # the flat ones at the rim may be turned inside out
    found = grid.sdf(grid.vertices()[inner])[:, 0]
    torch.testing.assert_close(found, grid.distance[inner], atol=1e-5, rtol=0)
    ends = grid.edges[inner[grid.edges.long()].all(-1)][::20].long()
    middles = grid.sdf(grid.vertices()[ends].mean(1))[:, 0]
    torch.testing.assert_close(middles, grid.distance[ends].mean(1), atol=1e-5, rtol=0)
    assert grid.sdf(grid.mesh().vertices).abs().max() < 1e-5
    assert grid.sdf(torch.tensor([[0.0, 2.0, 0.0]])).isposinf().all()


def test_features_fill_the_whole_box():
    grid = small_grid()
    assert grid.features(torch.rand(7, 3)).shape == (7, 3)
