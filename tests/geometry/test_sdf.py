"""The signed distance field: a sphere at first, derivatives against differences and closed forms."""

import pytest
import torch
from grids import small_hashgrid

from threestudio_like.fields.hashgrid import HashGrid
from threestudio_like.geometry.sdf import SDF
from threestudio_like.ops.mesh import signed_volume


def small_sdf(**changes) -> SDF:
    torch.manual_seed(0)
    settings = {
        "feature_encoding": None,
        "radius": 0.75,
        "num_features": 3,
        "width": 16,
        "depth": 1,
        "sphere_radius": 0.4,
    }
    settings |= {"epsilon": 0.01, "min_component": 0.01} | changes
    return SDF(encoding=grid(4), **settings)


def grid(levels: int) -> HashGrid:
    return small_hashgrid(num_levels=levels)


def disturbed(sdf: SDF, amount: float) -> SDF:
    """Parameters that are no longer those of the sphere, small enough to keep one surface."""
    with torch.no_grad():
        for parameter in sdf.parameters():
            parameter.add_(amount * torch.randn_like(parameter))
    return sdf


@pytest.fixture
def points():
    return torch.rand(200, 3, generator=torch.Generator().manual_seed(1)) * 1.4 - 0.7


def test_it_is_exactly_a_sphere_at_first(points):
    sdf, _, gradient = small_sdf().evaluate(points)
    torch.testing.assert_close(sdf[:, 0], points.norm(dim=-1) - 0.4)
    torch.testing.assert_close(gradient, points / points.norm(dim=-1, keepdim=True))


def test_evaluate_says_what_the_parts_say(points):
    field = disturbed(small_sdf(), 0.1)
    sdf, features, gradient = field.evaluate(points)
    torch.testing.assert_close(sdf, field.sdf(points))
    torch.testing.assert_close(features, field.features(points))
    torch.testing.assert_close(gradient, field.gradient(points))


def test_features_with_an_encoding_of_their_own_do_not_move_the_surface(points):
    field = disturbed(small_sdf(feature_encoding=grid(2)), 0.1)
    _, features, _ = field.evaluate(points)
    torch.testing.assert_close(features, field.features(points))
    features.square().sum().backward()
    assert all(p.grad is None for part in (field.encoding, field.distance) for p in part.parameters())
    assert all(p.grad.abs().sum() > 0 for p in field.feature_encoding.parameters())


def test_gradient_is_the_difference_of_the_field(points):
    field = disturbed(small_sdf(epsilon=1e-3), 0.1)
    moved = torch.stack([field.sdf(points + 1e-3 * axis)[:, 0] for axis in torch.eye(3)], dim=-1)
    expected = (moved - field.sdf(points)) / 1e-3
    torch.testing.assert_close(field.gradient(points), expected, atol=5e-3, rtol=0)


def test_gradient_at_the_faces_of_the_box_looks_inward():
    field = disturbed(small_sdf(), 0.1)
    corner = torch.full((1, 3), 0.75)
    inner = torch.stack([field.sdf(corner - 0.01 * axis)[:, 0] for axis in torch.eye(3)], dim=-1)
    torch.testing.assert_close(field.gradient(corner), (field.sdf(corner) - inner) / 0.01, atol=2e-2, rtol=0)


def test_every_parameter_gets_a_gradient(points):
    field = disturbed(small_sdf(), 0.1)
    sum(part.square().sum() for part in field.evaluate(points)).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in field.parameters())


def test_surface_is_an_outward_sphere():
    mesh = small_sdf().surface(24)
    assert not mesh.vertices.requires_grad
    assert (mesh.vertices.norm(dim=-1) - 0.4).abs().max() < 0.01
    ball = 4 / 3 * torch.pi * 0.4**3
    assert signed_volume(mesh.vertices, mesh.faces).item() == pytest.approx(ball, rel=0.03)


def test_a_field_of_one_sign_is_a_clear_error():
    field = small_sdf()
    field.sphere_radius = -1.0
    with pytest.raises(ValueError, match="no surface"):
        field.surface(8)


def test_the_sphere_must_fit_the_box():
    with pytest.raises(ValueError, match="sphere_radius"):
        small_sdf(sphere_radius=0.8)
