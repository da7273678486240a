"""The mesh renderer on a sphere of tetrahedra, against the exact sphere and against NeuS."""

import math

import pytest
import torch
from grids import small_hashgrid

from threestudio_like.background.solid import Solid
from threestudio_like.geometry.convert import begin
from threestudio_like.geometry.sdf import SDF
from threestudio_like.geometry.tetgrid import TetGrid
from threestudio_like.losses.image import mask_mse
from threestudio_like.material.plain import Plain
from threestudio_like.ops.camera import crop, orbit, rays
from threestudio_like.renderer.mesh import MeshRenderer
from threestudio_like.renderer.neus import NeuS
from threestudio_like.scene import Scene

RADIUS, SIZE = 0.4, 48


@pytest.fixture
def camera():
    return orbit(
        azimuth=torch.tensor([0.0, 2.0]),
        elevation=torch.tensor([0.2, -0.7]),
        distance=torch.full((2,), 1.6),
        fov_y=torch.full((2,), math.radians(49.134)),
        height=SIZE,
        width=SIZE,
    )


def encoding():
    torch.manual_seed(0)
    return small_hashgrid()


def sphere_of_tets(**changes):
    settings = {"radius": 0.75, "num_features": 3, "width": 16, "depth": 1, "resolution": 24}
    settings |= {"subdivisions": 0, "sphere_radius": RADIUS, "frozen": False, "min_component": 0.01} | changes
    geometry = TetGrid(encoding=encoding(), **settings)
    return Scene(geometry=geometry, material=Plain(), background=Solid(rgb=[1.0, 1.0, 0.5]))


def exact(camera, centre=(0.0, 0.0, 0.0), radius=RADIUS):
    """(hit, z-depth, normal) of a sphere at every pixel."""
    pixels = rays(camera)
    origins = pixels.origins - torch.tensor(centre)
    middle = -(origins * pixels.directions).sum(-1, keepdim=True)
    nearest = (origins + middle * pixels.directions).norm(dim=-1, keepdim=True)
    along = middle - (radius**2 - nearest**2).clamp_min(0).sqrt()
    normal = (origins + along * pixels.directions) / radius
    cosine = -(pixels.directions * camera.c2w[:, None, None, :3, 2]).sum(-1, keepdim=True)
    return nearest < radius, along * cosine, normal


def overlap(a, b):
    return ((a & b).sum() / (a | b).sum()).item()


def test_a_sphere_looks_like_a_sphere(camera):
    render = MeshRenderer()(sphere_of_tets(), camera, 0)
    hit, depth, normal = exact(camera)
    assert overlap(render.alpha > 0.5, hit) > 0.98
    core = hit & (render.alpha > 0.99) & ((normal * rays(camera).directions).sum(-1, keepdim=True) < -0.4)
    assert core.sum() > 200
    assert (render.depth - depth)[core].abs().mean() < 0.01
    cosine = (render.normal * normal).sum(-1, keepdim=True)[core]
    assert cosine.clamp(-1, 1).acos().rad2deg().mean() < 3
    assert render.depth[render.normal.eq(0).all(-1)].eq(0).all()
    torch.testing.assert_close(render.rgb[0, 0, 0], torch.tensor([1.0, 1.0, 0.5]))


def test_both_renderers_agree(camera):
    field = SDF(
        radius=0.75,
        num_features=3,
        encoding=encoding(),
        feature_encoding=None,
        width=16,
        depth=1,
        sphere_radius=RADIUS,
        epsilon=0.01,
        min_component=0.01,
    )
    with torch.no_grad():
        for parameter in field.feature.parameters():
            parameter.add_(2 * torch.randn_like(parameter))
        field.encoding.table.add_(0.3 * torch.randn_like(field.encoding.table))
    volume = Scene(geometry=field, material=Plain(), background=Solid(rgb=[1.0, 1.0, 1.0]))
    surface = sphere_of_tets(resolution=32)
    surface.background = volume.background
    begin(surface.geometry, field)
    neus = NeuS(
        variance=0.6, num_coarse=32, num_fine=32, lattice=48, min_weight=1e-4, cos_anneal_end=0, chunk=10_000
    )
    with torch.no_grad():
        a, b = neus.eval()(volume, camera, 0), MeshRenderer()(surface, camera, 0)
    assert overlap(a.alpha > 0.5, b.alpha > 0.5) > 0.97
    both = ((a.alpha > 0.95) & (b.alpha > 0.99))[..., 0]
    assert (a.depth - b.depth)[both].abs().mean() < 0.01
    assert (a.rgb - b.rgb)[both].abs().mean() < 0.03
    assert (a.normal * b.normal).sum(-1)[both].mean() > 0.99
    assert b.rgb[both].std() > 0.05  # there is something to agree on


def test_gradients_reach_every_parameter(camera):
    scene = sphere_of_tets()
    render = MeshRenderer()(scene, camera, 0)
    (render.rgb.square().mean() + render.alpha.mean() + render.depth.mean()).backward()
    for parameter in scene.parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().sum() > 0


def test_an_empty_mesh_is_the_background_with_zero_gradient(camera):
    scene = sphere_of_tets()
    with torch.no_grad():
        scene.geometry.distance.fill_(1.0)
    render = MeshRenderer()(scene, camera, 0)
    torch.testing.assert_close(render.rgb, scene.background(rays(camera).directions))
    (render.rgb.sum() + render.alpha.sum() + render.depth.sum() + render.normal.sum()).backward()
    assert scene.geometry.distance.grad.eq(0).all()


def test_frozen_geometry_trains_colours_only(camera):
    scene = sphere_of_tets(frozen=True)
    MeshRenderer()(scene, camera, 0).rgb.square().mean().backward()
    assert scene.geometry.distance.grad is None and scene.geometry.deformation.grad is None
    assert scene.geometry.encoding.table.grad.abs().sum() > 0


def test_silhouettes_pull_the_surface_to_another_sphere():
    index = torch.arange(8)  # from all around
    camera = orbit(
        azimuth=index * math.pi * (3 - math.sqrt(5)),
        elevation=torch.asin(1 - (2 * index + 1) / 8),
        distance=torch.full((8,), 1.6),
        fov_y=torch.full((8,), math.radians(49.134)),
        height=SIZE,
        width=SIZE,
    )
    scene = sphere_of_tets(resolution=16, sphere_radius=0.3)
    target = exact(camera, centre=(0.0, 0.05, 0.08), radius=0.36)[0]
    optimizer = torch.optim.Adam([scene.geometry.distance, scene.geometry.deformation], lr=0.01)
    overlaps = []
    for _ in range(35):
        render = MeshRenderer()(scene, camera, 0)
        overlaps.append(overlap(render.alpha > 0.5, target))
        loss = mask_mse(render.alpha, target.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert overlaps[0] < 0.65 and overlaps[-1] > 0.98


def test_each_renderer_says_what_it_takes(camera):
    with pytest.raises(ValueError, match="renderer neus"):
        NeuS(variance=0.3, num_coarse=8, num_fine=8, lattice=8, min_weight=1e-3, cos_anneal_end=0, chunk=64)(
            sphere_of_tets(), camera, 0
        )
    scene = sphere_of_tets()
    scene.geometry = torch.nn.Identity()
    with pytest.raises(ValueError, match="renderer mesh"):
        MeshRenderer()(scene, camera, 0)


def test_the_picture_of_a_crop_is_a_crop_of_the_picture(camera):
    """But for the window's rim, where antialiasing does not see the neighbour."""
    scene = sphere_of_tets()
    with torch.no_grad():
        whole = MeshRenderer()(scene, camera, 0)
        part = MeshRenderer()(scene, crop(camera, torch.tensor([5, 20]), 9, 20, 16), 0)
    for name in ("rgb", "alpha", "depth", "normal"):
        picture, window = getattr(whole, name), getattr(part, name)
        for i, top in enumerate((5, 20)):
            expected = picture[i, top + 1 : top + 19, 10:24]
            torch.testing.assert_close(window[i, 1:-1, 1:-1], expected, atol=1e-3, rtol=1e-3)
    assert 0.2 < part.alpha.mean() < 0.95
