"""Values in tetrahedra, against linear fields and against a search of all."""

from __future__ import annotations

import pytest
import torch

from threestudio_like.ops.barycentric import interpolate, locate, weights
from threestudio_like.ops.isosurface import lattice
from threestudio_like.ops.subdivision import crossed, subdivide


@pytest.fixture(scope="module")
def bent():
    """A lattice with inner vertices moved, finer around a sphere, in a box that is no cube."""
    grid = lattice(7)
    grid, _ = subdivide(grid, crossed(grid.vertices.norm(dim=-1) - 0.5, grid))
    noise = torch.randn(grid.vertices.shape, generator=torch.Generator().manual_seed(0))
    inner = (grid.vertices.abs() < 1).all(-1, keepdim=True)
    vertices = (grid.vertices + 0.02 * noise * inner) * torch.tensor([1.0, 0.5, 2.0]) + 0.3
    return vertices, grid.tets


def points_in_the_box(count):
    scale = torch.tensor([1.0, 0.5, 2.0])
    return (2 * torch.rand(count, 3, generator=torch.Generator().manual_seed(1)) - 1) * scale + 0.3


def test_linear_fields_are_exact(bent):
    vertices, tets = bent
    field = torch.randn(3, 2, generator=torch.Generator().manual_seed(2))
    points = points_in_the_box(2000)
    found = interpolate(points, vertices @ field + 0.7, vertices, tets, outside=torch.inf)
    torch.testing.assert_close(found, points @ field + 0.7)


def test_weights_are_those_of_the_point():
    corners, points = torch.randn(50, 4, 3).double(), torch.randn(50, 3).double()
    found = weights(points, corners)
    torch.testing.assert_close(found.sum(-1), torch.ones(50).double())
    torch.testing.assert_close((found[..., None] * corners).sum(1), points)
    torch.testing.assert_close(weights(corners[:, 2], corners), torch.eye(4).double()[2].expand(50, 4))


def test_the_tetrahedron_found_is_the_one_that_a_search_finds(bent):
    vertices, tets = bent
    points = points_in_the_box(100)
    corners = vertices[tets.long()]
    everywhere = weights(points.repeat_interleave(len(tets), 0), corners.repeat(100, 1, 1))
    least = everywhere.amin(-1).view(100, len(tets))
    assert torch.equal(locate(points, vertices, tets), least.argmax(-1))


def test_vertices_have_their_own_values(bent):
    vertices, tets = bent
    values = torch.randn(len(vertices), 1)
    found = interpolate(vertices, values, vertices, tets, outside=torch.inf)
    torch.testing.assert_close(found, values, atol=1e-4, rtol=0)


def test_outside_is_what_is_said(bent):
    vertices, tets = bent
    points = torch.tensor([[2.0, 0.3, 0.3], [0.3, 0.3, 2.4], [0.3, -9.0, 0.3], [0.3, 0.3, 0.3]])
    assert locate(points, vertices, tets)[:3].tolist() == [-1, -1, -1]
    found = interpolate(points, torch.ones(len(vertices), 1), vertices, tets, outside=torch.inf)
    assert found[:3].isinf().all() and found[3].item() == pytest.approx(1)
    assert interpolate(points[:0], torch.ones(len(vertices), 1), vertices, tets, 0.0).shape == (0, 1)


def test_gradcheck():
    """Two tetrahedra on one face, and a point outside."""
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0.1], [0, 1, 0], [0.2, 0, 1], [1, 1, 1]]).double()
    tets = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    points = torch.tensor([[0.2, 0.2, 0.3], [0.6, 0.5, 0.5], [0.5, 0.6, 0.7], [0.0, 0.9, 0.9]]).double()
    assert locate(points, vertices, tets).tolist() == [0, 1, 1, -1]
    values = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).double()
    inputs = [tensor.requires_grad_() for tensor in (points, values, vertices)]
    assert torch.autograd.gradcheck(lambda p, a, v: interpolate(p, a, v, tets, 0.0), inputs)
