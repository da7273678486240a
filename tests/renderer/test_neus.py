"""NeuS on a sphere: silhouette, depth and normals are known in closed form."""

import math

import pytest
import torch
from grids import small_hashgrid

from threestudio_like.background.solid import Solid
from threestudio_like.geometry.sdf import SDF
from threestudio_like.material.plain import Plain
from threestudio_like.ops.camera import crop, orbit, rays, resized
from threestudio_like.renderer.neus import NeuS
from threestudio_like.scene import Scene

RADIUS, DISTANCE = 0.4, 1.6


@pytest.fixture
def camera():
    return orbit(
        azimuth=torch.tensor([0.0, 2.0]),
        elevation=torch.tensor([0.2, -0.7]),
        distance=torch.full((2,), DISTANCE),
        fov_y=torch.full((2,), math.radians(49.134)),
        height=48,
        width=48,
    )


@pytest.fixture
def scene():
    torch.manual_seed(0)
    encoding = small_hashgrid()
    geometry = SDF(
        radius=0.75,
        num_features=3,
        encoding=encoding,
        feature_encoding=None,
        width=16,
        depth=1,
        sphere_radius=RADIUS,
        epsilon=0.01,
        min_component=0.01,
    )
    return Scene(geometry=geometry, material=Plain(), background=Solid(rgb=[1.0, 1.0, 0.5]))


def renderer(**changes):
    settings = {"variance": 0.5, "num_coarse": 32, "num_fine": 16, "lattice": 32, "min_weight": 1e-4}
    return NeuS(**settings | {"cos_anneal_end": 0, "chunk": 1000} | changes)


def exact(camera):
    """(hit, z-depth, normal) of the sphere at every pixel."""
    pixels = rays(camera)
    middle = -(pixels.origins * pixels.directions).sum(-1, keepdim=True)
    nearest = (pixels.origins + middle * pixels.directions).norm(dim=-1, keepdim=True)
    hit = nearest < RADIUS
    along = middle - (RADIUS**2 - nearest**2).clamp_min(0).sqrt()
    normal = (pixels.origins + along * pixels.directions) / RADIUS
    cosine = -(pixels.directions * camera.c2w[:, None, None, :3, 2]).sum(-1, keepdim=True)
    return hit, along * cosine, normal


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("variance", [0.3, 0.5, 0.8])
def test_a_sphere_looks_like_a_sphere(scene, camera, training, variance):
    torch.manual_seed(0)
    neus = renderer(variance=variance).train(training)
    with torch.set_grad_enabled(training):
        render = neus(scene, camera, 0)
    hit, depth, normal = exact(camera)
    seen = render.alpha > 0.5
    assert (seen & hit).sum() / (seen | hit).sum() > 0.98
    core = hit & (render.alpha > 0.95) & ((normal * rays(camera).directions).sum(-1, keepdim=True) < -0.4)
    assert core.sum() > 200
    assert (render.depth - depth)[core].abs().mean() < 0.01
    cosine = (render.normal * normal).sum(-1, keepdim=True)[core]
    assert cosine.clamp(-1, 1).acos().rad2deg().mean() < 3


def test_what_is_behind_shows(scene, camera):
    with torch.no_grad():
        render = renderer().eval()(scene, camera, 0)
    torch.testing.assert_close(render.rgb[0, 0, 0], torch.tensor([1.0, 1.0, 0.5]))
    assert render.alpha[0, 0, 0] == 0 and render.depth[0, 0, 0] == 0
    assert render.normal[0, 0, 0].eq(0).all()
    grey = render.rgb[0, 24, 24]  # features are near 0 at first
    torch.testing.assert_close(grey, torch.full((3,), 0.5), atol=0.05, rtol=0)


def test_chunks_do_not_show(scene, camera):
    with torch.no_grad():
        whole, parts = (renderer(chunk=chunk).eval()(scene, camera, 0) for chunk in (10_000, 777))
    for a, b in zip(whole[:4], parts[:4], strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_reach_every_parameter(scene, camera):
    neus = renderer()
    with torch.no_grad():
        for parameter in scene.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    render = neus(scene, camera, 0)
    (render.rgb.mean() + render.alpha.mean() + render.depth.mean() + render.normal.square().mean()).backward()
    for parameter in (*scene.parameters(), *neus.parameters()):
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().sum() > 0


def test_alpha_grows_with_the_object(scene, camera):
    """The gradient of the mean alpha by the sphere's radius, against a difference."""
    neus = renderer(variance=0.4, num_fine=32).eval()
    geometry = scene.geometry
    mean = {}
    for radius in (RADIUS - 0.005, RADIUS + 0.005):
        geometry.sphere_radius = radius
        with torch.no_grad():
            mean[radius] = neus(scene, camera, 0).alpha.mean()
    low, high = mean.values()
    size = geometry.sphere_radius = torch.tensor(RADIUS, requires_grad=True)
    (by_autograd,) = torch.autograd.grad(neus(scene, camera, 0).alpha.mean(), size)
    assert by_autograd.item() == pytest.approx(((high - low) / 0.01).item(), rel=0.1)


def test_samples_are_what_was_summed(scene, camera):
    render = renderer()(scene, camera, 0)
    samples = render.samples
    total = torch.zeros(render.alpha.numel()).index_add(0, samples.rays, samples.weights)
    torch.testing.assert_close(total, render.alpha.flatten())
    pixels = rays(camera)
    points = pixels.origins.reshape(-1, 3)[samples.rays] + samples.distances[:, None] * samples.directions
    torch.testing.assert_close(samples.sdf, points.norm(dim=-1) - RADIUS, atol=1e-5, rtol=1e-5)
    assert (samples.rays.diff() >= 0).all()


def test_nothing_in_view_is_the_background_with_zero_gradient(scene, camera):
    scene.geometry.sphere_radius = -5.0
    render = renderer()(scene, camera, 0)
    assert render.alpha.max() == 0
    (render.rgb.sum() + render.depth.sum() + render.normal.sum()).backward()
    gradients = [parameter.grad for parameter in scene.parameters() if parameter.grad is not None]
    assert all(gradient.eq(0).all() for gradient in gradients)


def test_only_training_is_jittered(scene, camera):
    neus = renderer()
    with torch.no_grad():
        assert torch.equal(neus.eval()(scene, camera, 0).alpha, neus(scene, camera, 0).alpha)
        neus.train()
        torch.manual_seed(1)
        first = neus(scene, camera, 0).alpha
        assert not torch.equal(first, neus(scene, camera, 0).alpha)
        torch.manual_seed(1)
        assert torch.equal(first, neus(scene, camera, 0).alpha)


def test_facing_anneals_from_half_to_full():
    neus, cosine = renderer(cos_anneal_end=10), torch.tensor([-1.0, 0.0, 1.0])
    torch.testing.assert_close(neus.facing(cosine, 0), torch.tensor([-1.0, -0.5, 0.0]))
    torch.testing.assert_close(neus.facing(cosine, 10), torch.tensor([-1.0, 0.0, 0.0]))


def test_silhouettes_pull_the_field_to_another_sphere(scene, camera):
    neus, camera = renderer(variance=0.3, min_weight=1e-3), resized(camera, 24, 24)
    pixels = rays(camera)
    origins = pixels.origins - torch.tensor([0.0, 0.06, 0.08])
    nearest = torch.linalg.cross(origins, pixels.directions).norm(dim=-1, keepdim=True)
    target = nearest < RADIUS + 0.05
    parameters = [{"params": scene.geometry.encoding.parameters(), "lr": 0.01}]
    parameters += [{"params": scene.geometry.distance.parameters(), "lr": 0.003}]
    optimizer = torch.optim.Adam(parameters, betas=(0.9, 0.99))
    overlaps = []
    for step in range(40):
        alpha = neus(scene, camera, step).alpha
        overlaps.append(((alpha > 0.5) & target).sum() / ((alpha > 0.5) | target).sum())
        optimizer.zero_grad()
        (alpha - target.float()).square().mean().backward()
        optimizer.step()
    assert overlaps[0] < 0.78 and overlaps[-1] > 0.93


def test_the_picture_of_a_crop_is_a_crop_of_the_picture(scene, camera):
    neus = renderer().eval()
    with torch.no_grad():
        whole = neus(scene, camera, 0)
        part = neus(scene, crop(camera, torch.tensor([5, 20]), 9, 20, 16), 0)
    for picture, window in zip(whole[:4], part[:4], strict=True):
        for i, top in enumerate((5, 20)):
            torch.testing.assert_close(window[i], picture[i, top : top + 20, 9:25], atol=1e-3, rtol=1e-3)
    assert 0.2 < part.alpha.mean() < 0.95
