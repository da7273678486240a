"""The density field: its activations and biases, derivatives against differences, its surface."""

import math

import pytest
import torch
from grids import small_hashgrid

from threestudio_like.geometry.density import ACTIVATIONS, Cone, Density, Gaussian
from threestudio_like.ops.mesh import signed_volume


def small_density(**changes) -> Density:
    torch.manual_seed(0)
    encoding = small_hashgrid()
    settings = {"radius": 0.75, "num_features": 3, "width": 16, "depth": 1, "activation": "softplus"}
    settings |= {"bias": Cone(offset=0.0, scale=10.0, radius=0.4), "epsilon": 0.01, "threshold": 1.0}
    return Density(encoding=encoding, **settings | {"min_component": 0.01} | changes)


def disturbed(field: Density, amount: float) -> Density:
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(amount * torch.randn_like(parameter))
    return field


@pytest.fixture
def points():
    return torch.rand(200, 3, generator=torch.Generator().manual_seed(1)) * 1.4 - 0.7


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_positive_and_undone(name):
    raw = torch.linspace(-4, 12, 20, dtype=torch.float64)
    density = ACTIVATIONS[name].forward(raw)
    assert (density > 0).all() and (density.diff() > 0).all()
    for given, found in zip(raw.tolist(), density.tolist(), strict=True):
        assert ACTIVATIONS[name].inverse(found) == pytest.approx(given)


def test_an_exponential_does_not_overflow():
    assert torch.isfinite(ACTIVATIONS["exp"].forward(torch.tensor([1e3]))).all()


def test_biases_in_closed_form():
    points = torch.tensor([[0.0, 0.0, 0.0], [0.3, 0.0, 0.4]])
    cone = Cone(offset=-1.0, scale=10.0, radius=0.25)
    assert cone(points).flatten().tolist() == pytest.approx([9.0, -11.0])
    expected = [7.0, 2.0 + 5.0 * math.exp(-0.5)]
    assert Gaussian(offset=2.0, scale=5.0, radius=0.5)(points).flatten().tolist() == pytest.approx(expected)


def test_it_is_the_blob_at_first(points):
    expected = torch.nn.functional.softplus(10 * (1 - points.norm(dim=-1) / 0.4))
    torch.testing.assert_close(small_density().density(points)[:, 0], expected, atol=1e-2, rtol=1e-2)


def test_evaluate_says_what_the_parts_say(points):
    field = disturbed(small_density(), 0.1)
    for gradients in (True, False):
        density, features, gradient = field.evaluate(points, gradients=gradients)
        torch.testing.assert_close(density, field.density(points))
        torch.testing.assert_close(features, field.features(points))
        assert (gradient is not None) == gradients


def test_the_gradient_points_into_the_fog(points):
    """Along the densities' own gradient, by differences in double precision, away from the box's faces."""
    field = disturbed(small_density(epsilon=1e-3), 0.1)
    points = 0.8 * points
    gradient = field.evaluate(points, gradients=True)[2]
    field, places = field.double(), points.double()
    steps = 1e-3 * torch.eye(3, dtype=torch.float64)
    moved = torch.cat([field.density(places + s) - field.density(places) for s in steps], dim=-1)
    assert (torch.cosine_similarity(gradient.double(), moved) > 0.98).all()


def test_the_surface_is_where_the_density_is_the_threshold():
    field = disturbed(small_density(), 0.01)
    mesh = field.surface(32)
    density = field.density(mesh.vertices)
    assert (density - 1.0).abs().mean() < 0.02
    assert signed_volume(mesh.vertices, mesh.faces) > 0
    radius = mesh.vertices.norm(dim=-1)
    assert (radius - radius.mean()).abs().max() < 0.05


def test_cavities_are_filled():
    """A hollow ball: what cannot be seen from outside is inside."""
    field = small_density()
    field.bias = lambda points: 20 - 200 * (points.norm(dim=-1, keepdim=True) - 0.4).abs()
    mesh = field.surface(32)
    radius = mesh.vertices.norm(dim=-1)
    assert radius.min() > 0.4
    assert signed_volume(mesh.vertices, mesh.faces) == pytest.approx(4 / 3 * math.pi * 0.495**3, rel=0.05)


def test_no_surface_is_said():
    with pytest.raises(ValueError, match="no surface"):
        small_density(bias=Cone(offset=-8.0, scale=0.0, radius=1.0)).surface(8)


def test_fog_that_reaches_the_box_ends_there():
    mesh = small_density(bias=Cone(offset=8.0, scale=0.0, radius=1.0)).surface(24)
    assert signed_volume(mesh.vertices, mesh.faces) == pytest.approx(1.5**3, rel=0.15)
    sides = torch.cat([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    assert {tuple(side) for side in sides.tolist()} == {tuple(side) for side in sides.flip(1).tolist()}


@pytest.mark.parametrize(("name", "value"), [("activation", "relu"), ("threshold", 0.0)])
def test_bad_settings_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}: "):
        small_density(**{name: value})


def test_the_surface_s_mean_is_the_field_where_that_is_straight_and_bounded_where_it_is_clear():
    field = small_density(bias=lambda points: 20 * points[:, :1])
    with torch.no_grad():
        field.encoding.table.zero_()
        points = torch.tensor([[0.01, 0.3, 0.1], [-0.02, 0.0, 0.2], [0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]])
        found = field.mean(points + torch.tensor([field.level / 20, 0.0, 0.0]), 0.02)
    torch.testing.assert_close(found, torch.tensor([0.2, -0.4, 1.0, -1.0]), atol=1e-4, rtol=0)


def test_a_rough_skin_with_pores_is_a_solid_to_every_lattice():
    """A thin shell, each spot of it thick or thin by chance, around fog that nobody corrected."""

    class Rough(Density):
        def raw(self, points):
            noise = torch.sin(190 * points + torch.tensor([0.0, 1.0, 2.0])).prod(-1, keepdim=True)
            radius = points.norm(dim=-1, keepdim=True)
            inner = torch.where(radius < 0.4, 5 * noise, 3 + 5 * noise)
            return self.level + torch.where(radius < 0.5, inner, -4.0)

    torch.manual_seed(0)
    settings = {"radius": 0.75, "num_features": 3, "width": 8, "depth": 1, "activation": "softplus"}
    settings |= {"bias": Cone(offset=0.0, scale=0.0, radius=0.4), "epsilon": 0.01, "threshold": 1.0}
    fog = Rough(encoding=small_density().encoding, min_component=0.01, **settings)
    for resolution in (32, 48, 64):
        mesh = fog.surface(resolution)
        ball = 4 / 3 * math.pi * 0.5**3
        assert signed_volume(mesh.vertices, mesh.faces).item() == pytest.approx(ball, rel=0.08), resolution
