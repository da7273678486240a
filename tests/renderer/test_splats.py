"""Splats on a covered sphere, against the exact one; background, gradients, normals, degrees."""

import math

import pytest
import torch

from threestudio_like.background.solid import Solid
from threestudio_like.geometry.gaussians import Gaussians
from threestudio_like.material.direct import Direct
from threestudio_like.ops.camera import orbit, rays
from threestudio_like.renderer.splats import Splats
from threestudio_like.scene import Scene

RADIUS, SIZE = 0.4, 64


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


def covered_sphere(count=8000, features=(0.3, -0.2, 0.1), background=(1.0, 1.0, 1.0)):
    geometry = Gaussians(
        radius=0.75,
        num_features=3,
        degree=1,
        count=2,
        ball=0.5,
        opacity=0.95,
        level=1.0,
        min_component=0.01,
    )
    turn, z = torch.arange(count) * math.pi * (3 - math.sqrt(5)), 1 - (2 * torch.arange(count) + 1) / count
    flat = (1 - z * z).sqrt()
    points = torch.stack([flat * turn.cos(), flat * turn.sin(), z], dim=-1)  # evenly spread
    geometry.place(RADIUS * points, torch.tensor(features).expand(count, 3))
    with torch.no_grad():
        geometry.log_scales.fill_(math.log(0.007))
    return Scene(geometry=geometry, material=Direct(), background=Solid(rgb=background))


def renderer(degree_every=0):
    return Splats(near=0.2, degree_every=degree_every)


def exact(camera):
    """(hit, z-depth, normal) of the sphere at every pixel."""
    pixels = rays(camera)
    middle = -(pixels.origins * pixels.directions).sum(-1, keepdim=True)
    nearest = (pixels.origins + middle * pixels.directions).norm(dim=-1, keepdim=True)
    along = middle - (RADIUS**2 - nearest**2).clamp_min(0).sqrt()
    normal = (pixels.origins + along * pixels.directions) / RADIUS
    cosine = -(pixels.directions * camera.c2w[:, None, None, :3, 2]).sum(-1, keepdim=True)
    return nearest < RADIUS, along * cosine, normal


def test_a_sphere_looks_like_a_sphere(camera):
    scene = covered_sphere()
    with torch.no_grad():
        render = renderer()(scene, camera, 0)
    hit, depth, normal = exact(camera)
    seen = render.alpha > 0.5
    assert seen[hit].all() and seen.sum() < 1.2 * hit.sum()  # where it is seen at a slant it is a pixel wider
    core = hit & (render.alpha > 0.95) & ((normal * rays(camera).directions).sum(-1, keepdim=True) < -0.6)
    assert core.sum() > 200
    assert (render.depth - depth)[core].abs().mean() < 0.02
    cosine = (render.normal * normal).sum(-1, keepdim=True)[core]
    assert cosine.mean() > 0.95
    length = render.normal.norm(dim=-1, keepdim=True)
    assert ((length - 1).abs() < 1e-4).logical_or(length == 0).all()
    assert render.normal[~seen.expand_as(render.normal)].eq(0).all()
    over = torch.tensor([0.8, 0.3, 0.6]) * render.alpha + 1 - render.alpha
    torch.testing.assert_close(render.rgb, over, atol=1e-5, rtol=0)


def test_the_background_shows_through(camera):
    """C(background) = C(0) + (1 - alpha) background."""
    black, blue = (
        renderer()(covered_sphere(200, background=rgb), camera, 0) for rgb in ([0, 0, 0], [0, 0, 1])
    )
    expected = black.rgb + (1 - black.alpha) * torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(blue.rgb, expected)
    assert black.alpha.min() == 0 and black.alpha.max() > 0.9


def test_gradients_reach_every_parameter_and_the_projected_means(camera):
    scene = covered_sphere(200)
    render = renderer()(scene, camera, 0)
    weights = torch.rand(SIZE, SIZE, 1)
    ((render.rgb + render.alpha + render.depth) * weights).mean().backward()
    for name, parameter in scene.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name
    assert render.footprints.centers.grad.shape == (2, 200, 2)
    assert render.footprints.centers.grad.abs().sum() > 0


def test_degrees_come_one_after_the_other(camera):
    scene = covered_sphere(200)
    with torch.no_grad():
        scene.geometry.rest[:, 1] = 0.3  # along z
        flat, early, late = (renderer(every)(scene, camera, 99).rgb for every in (100, 99, 0))
    assert flat.sub(early).abs().max() > 0.05
    torch.testing.assert_close(early, late)


def test_an_empty_view_is_the_background(camera):
    scene = covered_sphere(5)
    with torch.no_grad():
        scene.geometry.means += 100.0
    render = renderer()(scene, camera, 0)
    assert render.rgb.eq(1).all() and render.alpha.eq(0).all()
    assert render.depth.eq(0).all() and render.normal.eq(0).all()
    render.rgb.sum().backward()
    assert scene.geometry.means.grad.eq(0).all()


def test_it_says_what_it_takes(camera):
    scene = covered_sphere(5)
    scene.geometry = torch.nn.Identity()
    with pytest.raises(ValueError, match="renderer splats"):
        renderer()(scene, camera, 0)
