"""Conversions keep silhouettes and features."""

import math

import pytest
import torch
from grids import small_hashgrid
from torch import nn

from threestudio_like.background.solid import Solid
from threestudio_like.geometry.base import Explicit
from threestudio_like.geometry.convert import begin, fit_sdf
from threestudio_like.geometry.density import Cone, Density
from threestudio_like.geometry.gaussians import Gaussians
from threestudio_like.geometry.sdf import SDF
from threestudio_like.geometry.tetgrid import TetGrid
from threestudio_like.material.plain import Plain
from threestudio_like.ops.camera import orbit
from threestudio_like.ops.isosurface import lattice
from threestudio_like.ops.mesh import signed_volume
from threestudio_like.renderer.mesh import MeshRenderer
from threestudio_like.renderer.neus import NeuS
from threestudio_like.scene import Scene


def encoding(finest=16):
    return small_hashgrid(finest_resolution=finest)


def field(num_features=3, **changes):
    settings = {"radius": 0.75, "width": 16, "depth": 1, "sphere_radius": 0.35, "epsilon": 0.01}
    settings |= {"feature_encoding": None}
    return SDF(encoding=encoding(), num_features=num_features, min_component=0.0, **settings | changes)


def tets(finest=16, **changes):
    settings = {
        "radius": 0.75,
        "num_features": 3,
        "width": 16,
        "depth": 1,
        "resolution": 32,
        "subdivisions": 0,
    }
    settings |= {"sphere_radius": 0.5, "frozen": False, "min_component": 0.0}
    return TetGrid(encoding=encoding(finest), **settings | changes)


class Bent(SDF):
    """Two overlapping balls of different size, and a slope that is far from one."""

    def sphere(self, points):
        big = (points - torch.tensor([0.1, 0.0, -0.1])).norm(dim=-1, keepdim=True) - 0.3
        small = (points - torch.tensor([-0.2, 0.1, 0.25])).norm(dim=-1, keepdim=True) - 0.15
        return torch.minimum(big, small)

    def sdf(self, points):
        return self.slope(points) * super().sdf(points)

    def evaluate(self, points):
        offsets = self.epsilon * torch.eye(3)
        ahead = torch.stack([self.sdf(points + offset)[:, 0] for offset in offsets], dim=-1)
        sdf = self.sdf(points)
        return sdf, self.features(points), (ahead - sdf) / self.epsilon

    @staticmethod
    def slope(points):
        return 3 + 2 * torch.sin(9 * points[:, :1])


@pytest.fixture
def bent():
    torch.manual_seed(0)
    bent = Bent(
        encoding=encoding(),
        feature_encoding=None,
        radius=0.75,
        num_features=3,
        width=16,
        depth=1,
        sphere_radius=0.3,
        epsilon=0.005,
        min_component=0.0,
    )
    with torch.no_grad():
        bent.encoding.table.add_(3 * torch.randn_like(bent.encoding.table))
    return bent


class Fog(Density):
    """The same two balls, hollow, as a fog whose edge is here sharper and there softer."""

    def raw(self, points):
        distance = Bent.sphere(self, points)
        shell = torch.minimum(-distance, distance + 0.12)  # thin again where nobody sees it
        return self.level + 20 * Bent.slope(points) * shell


@pytest.fixture
def fog():
    torch.manual_seed(0)
    settings = {"radius": 0.75, "num_features": 3, "width": 16, "depth": 1, "epsilon": 0.01}
    bias = Cone(offset=0.0, scale=0.0, radius=1.0)
    settings |= {"activation": "exp", "bias": bias, "threshold": 10.0, "min_component": 0.0}
    fog = Fog(encoding=encoding(), **settings)
    with torch.no_grad():
        fog.encoding.table.add_(3 * torch.randn_like(fog.encoding.table))
    return fog


def test_fog_to_sdf_keeps_surface_and_colours(fog):
    """Distances are true ones, also in the cavity, which is filled."""
    torch.manual_seed(0)
    target = field(sphere_radius=0.5)
    target.encoding = small_hashgrid(log2_table=14, base_resolution=8, finest_resolution=48)
    begin(target, fog)
    mesh = fog.surface(48)
    near = mesh.vertices + 0.03 * torch.randn(mesh.vertices.shape)
    true = Bent.sphere(target, near)
    assert (target.sdf(near) - true).abs().mean() < 0.004
    assert (fog.features(mesh.vertices) - target.features(mesh.vertices)).abs().mean() < 0.1
    wanted, found = shown(fog_as_mesh(mesh), MeshRenderer()), shown(target, neus())
    assert overlap(found.alpha > 0.5, wanted.alpha > 0.5) > 0.97
    filled = target.surface(48)
    assert signed_volume(*filled[:2]) == pytest.approx(signed_volume(*mesh[:2]).item(), rel=0.02)


def bar(points):
    """Signed distances, nearly, of one that sticks out of the sphere that fields begin as."""
    away = points.abs() - torch.tensor([0.5, 0.05, 0.05])
    return away.clamp_min(0).norm(dim=-1) + away.amax(-1).clamp_max(0)


def test_distances_are_fitted_inside_and_outside_of_the_first_sphere():
    """Of this seed a field stays a sphere in places if its weights all have one sign after the first step."""
    torch.manual_seed(1)
    points = (torch.rand(4000, 3) - 0.5) * torch.tensor([1.2, 0.5, 0.5])
    within = (torch.rand(4000, 3) - 0.5) * torch.tensor([1.0, 0.1, 0.1])
    target = field(sphere_radius=0.4, width=32)
    target.encoding = small_hashgrid(log2_table=14, base_resolution=8, finest_resolution=48)
    fit_sdf(target, bar, within, lambda p: 4 * torch.sin(9 * p))
    with torch.no_grad():
        found = target.sdf(points)[:, 0]
    assert (found - bar(points)).abs().mean() < 0.011


def test_fog_to_tets_keeps_surface_and_colours(fog):
    target = tets()
    begin(target, fog)
    mesh = fog.surface(48)
    wanted, found = shown(fog_as_mesh(mesh), MeshRenderer()), shown(target, MeshRenderer())
    assert overlap(found.alpha > 0.5, wanted.alpha > 0.5) > 0.97
    assert (fog.features(mesh.vertices) - target.features(mesh.vertices)).abs().mean() < 0.1
    near = target.distance.abs() < 0.05
    assert (target.distance - Bent.sphere(target, target.vertices())[:, 0])[near].abs().mean() < 0.004


def fog_as_mesh(mesh):
    """To be shown by the mesh renderer."""

    class Shown(Explicit):
        def mesh(self):
            return mesh

        def features(self, points):
            return torch.zeros_like(points)

    return Shown(radius=0.75, num_features=3)


def cameras(count=6, size=64):
    return orbit(
        azimuth=torch.arange(count) * 2 * math.pi / count,
        elevation=torch.linspace(-0.6, 1.0, count),
        distance=torch.full((count,), 1.6),
        fov_y=torch.full((count,), math.radians(49.134)),
        height=size,
        width=size,
    )


def overlap(a, b):
    return ((a & b).sum() / (a | b).sum()).item()


def shown(geometry, renderer: nn.Module):
    scene = Scene(geometry=geometry, material=Plain(), background=Solid(rgb=[1.0, 1.0, 1.0]))
    with torch.no_grad():
        return renderer.eval()(scene, cameras(), 0)


def neus():
    return NeuS(
        variance=0.55, num_coarse=48, num_fine=32, lattice=48, min_weight=1e-4, cos_anneal_end=0, chunk=2**16
    )


def test_sdf_to_tets_keeps_silhouette_and_colours(bent):
    target = tets()
    before, wanted = shown(target, MeshRenderer()), shown(bent, neus())
    begin(target, bent)
    after = shown(target, MeshRenderer())
    assert overlap(before.alpha > 0.5, wanted.alpha > 0.5) < 0.7
    assert overlap(after.alpha > 0.5, wanted.alpha > 0.5) > 0.97
    both = ((after.alpha > 0.99) & (wanted.alpha > 0.95))[..., 0]
    assert (after.depth - wanted.depth)[both].abs().mean() < 0.015
    assert (after.rgb - wanted.rgb)[both].abs().mean() < 0.03


def test_tets_copy_the_encoding_that_the_features_of_distances_read():
    source = field(feature_encoding=encoding(32))
    target = tets(32)
    begin(target, source)
    points = source.surface(16).vertices
    assert torch.equal(target.features(points), source.features(points))


def test_distances_on_the_tets_are_distances(bent):
    target = tets()
    begin(target, bent)
    vertices = target.vertices()
    near = target.distance.abs() < 0.05
    true = bent.sphere(vertices)[:, 0]
    assert (target.distance - true)[near].abs().mean() < 0.006
    margins = target.upper - target.lower
    assert (margins < 1.4).all()  # the lattice is fitted to the object


def test_sdf_to_sdf_is_a_copy():
    source, target = field(), field()
    with torch.no_grad():
        source.encoding.table.add_(torch.randn_like(source.encoding.table))
    begin(target, source)
    points = torch.rand(50, 3) - 0.5
    for ours, theirs in zip(target.evaluate(points), source.evaluate(points), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert target.encoding.table is not source.encoding.table


def test_tets_to_tets_is_a_copy(bent):
    source, target = tets(), tets(frozen=True)
    begin(source, bent)
    with torch.no_grad():
        source.deformation.normal_()
    target.mesh()  # what was kept must not survive
    begin(target, source)
    torch.testing.assert_close(target.mesh().vertices, source.surface(0).vertices)
    points = torch.rand(50, 3) - 0.5
    torch.testing.assert_close(target.features(points), source.features(points))
    assert not target.distance.requires_grad


def test_distances_on_the_cut_tets_are_the_source_s(bent):
    coarse, fine = tets(resolution=16), tets(resolution=16, subdivisions=1)
    begin(coarse, bent)
    begin(fine, bent)
    errors = [bent.sphere(target.mesh().vertices).abs().mean().item() for target in (coarse, fine)]
    assert errors[1] < 0.5 * errors[0]  # means at the middles would leave the surface where it was
    assert len(fine.distance) < len(lattice(32).vertices)


@pytest.mark.parametrize(
    "ours", [{"subdivisions": 1}, {"subdivisions": 2}, {"resolution": 24}, {"subdivisions": 0}]
)
@pytest.mark.parametrize("theirs", [{"subdivisions": 0}, {"subdivisions": 1}])
def test_tets_to_other_tets_keep_silhouette_and_volume(bent, ours, theirs):
    source, target = tets(**{"resolution": 16} | theirs), tets(**{"resolution": 16} | ours)
    begin(source, bent)
    with torch.no_grad():
        source.deformation.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
    begin(target, source)
    before, after = (shown(geometry, MeshRenderer()).alpha > 0.5 for geometry in (source, target))
    assert overlap(before, after) > 0.97
    volumes = [signed_volume(*geometry.mesh()[:2]) for geometry in (source, target)]
    exact = ours.get("resolution", 16) == 16
    torch.testing.assert_close(*volumes, rtol=1e-5 if exact else 0.03, atol=0)


@pytest.mark.parametrize("changes", [{"width": 24}, {"finest": 24}])
def test_features_of_another_build_are_fitted(bent, changes):
    target = tets(**changes)
    begin(target, bent)
    surface = bent.surface(24).vertices
    ours, theirs = target.features(surface).sigmoid(), bent.features(surface).sigmoid()
    assert theirs.std() > 0.05
    assert (ours - theirs).abs().mean() < 0.35 * theirs.std()


def cloud(**changes):
    settings = {"radius": 0.75, "num_features": 3, "degree": 1, "count": 400, "ball": 0.5, "opacity": 0.1}
    return Gaussians(**settings | {"level": 1.0, "min_component": 0.0} | changes)


def test_gaussians_are_spread_over_a_surface(bent):
    target = cloud()
    begin(target, bent)
    assert target.count == 400 and target.means.requires_grad
    assert bent.sdf(target.means).abs().max() < 0.01
    sides = [(target.means * sign > 0.1).any(0) for sign in (1, -1)]
    assert all(side.all() for side in sides)
    colours = target.seen(torch.tensor([[[1.0, 0.0, 0.0]]]).expand(1, 400, 3), 1)[0]
    torch.testing.assert_close(colours, bent.features(target.means))
    again = cloud()
    begin(again, bent)
    assert torch.equal(again.means, target.means)


def test_gaussians_are_copied_whatever_their_number():
    source, target = cloud(count=30), cloud(count=7, degree=2)
    with torch.no_grad():
        source.rest.normal_()
    begin(target, source)
    assert torch.equal(target.means, source.means)
    assert torch.equal(target.rest[:, :3], source.rest) and target.rest[:, 3:].eq(0).all()


@pytest.mark.parametrize(
    ("target", "source"),
    [
        (lambda: cloud(degree=0), cloud),
        (tets, cloud),
        (lambda: tets(num_features=4), field),
        (lambda: field(width=24), field),
        (lambda: field(sphere_radius=0.3), field),
        (field, tets),
    ],
)
def test_what_cannot_be_converted_is_said(target, source):
    with pytest.raises(ValueError, match=r"cannot convert|no conversion"):
        begin(target(), source())


def test_a_fog_is_copied_whole() -> None:
    def fog(width: int = 16) -> Density:
        settings = {"radius": 0.75, "num_features": 3, "width": width, "depth": 1, "activation": "softplus"}
        settings |= {"bias": Cone(offset=0.0, scale=10.0, radius=0.4), "epsilon": 0.01, "threshold": 1.0}
        return Density(encoding=encoding(), min_component=0.01, **settings)

    one, other = fog(), fog()
    begin(other, one)
    points = 1.2 * torch.rand(500, 3) - 0.6
    torch.testing.assert_close(other.raw(points), one.raw(points))
    torch.testing.assert_close(other.features(points), one.features(points))
    with pytest.raises(ValueError, match="a fog to one built otherwise"):
        begin(fog(8), one)
