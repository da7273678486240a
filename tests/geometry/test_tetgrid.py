"""The tetrahedral grid: a sphere at first, bounded deformation, gradients, and what freezing keeps."""

import pytest
import torch

from threestudio_like.fields.hashgrid import HashGrid
from threestudio_like.geometry.tetgrid import TetGrid
from threestudio_like.ops.mesh import signed_volume


def small_grid(**changes) -> TetGrid:
    torch.manual_seed(0)
    encoding = HashGrid(
        num_levels=4, features_per_level=2, log2_table=10, base_resolution=4, finest_resolution=16
    )
    settings = {"radius": 0.75, "num_features": 3, "width": 16, "depth": 1, "resolution": 16}
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


def test_features_fill_the_whole_box():
    grid = small_grid()
    assert grid.features(torch.rand(7, 3)).shape == (7, 3)
