"""The density renderer on a ball of even fog, whose opacity is known in closed form."""

import math

import pytest
import torch
from grids import small_hashgrid

from threestudio_like.background.solid import Solid
from threestudio_like.geometry.base import Volume
from threestudio_like.geometry.density import Cone, Density
from threestudio_like.material.plain import Plain
from threestudio_like.ops.camera import crop, orbit, rays
from threestudio_like.renderer.nerf import NeRF
from threestudio_like.scene import Scene

RADIUS = 0.4


class Ball(Volume):
    """Even fog in a ball, without gradients at its rim; red to the right of the plane y = 0."""

    def __init__(self, thickness: float) -> None:
        super().__init__(radius=0.75, num_features=3)
        self.thickness = torch.nn.Parameter(torch.tensor(thickness))

    def density(self, points):
        return self.thickness * (points.norm(dim=-1, keepdim=True) < RADIUS)

    def features(self, points):
        return 20 * points[:, 1:2].sign() * torch.tensor([1.0, -1.0, -1.0])

    def evaluate(self, points, *, gradients):
        return self.density(points), self.features(points), -points if gradients else None


def ball(thickness):
    return Scene(geometry=Ball(thickness), material=Plain(), background=Solid(rgb=[1.0, 1.0, 0.5]))


@pytest.fixture
def camera():
    return orbit(
        azimuth=torch.tensor([0.0, 2.0]),
        elevation=torch.tensor([0.2, -0.7]),
        distance=torch.full((2,), 1.6),
        fov_y=torch.full((2,), math.radians(49.134)),
        height=32,
        width=32,
    )


def renderer(**changes):
    settings = {"num_steps": 512, "resolution": 24, "threshold": 0.01, "decay": 0.95, "refresh_every": 1}
    settings |= {"warmup": 100, "min_weight": 0.0, "normals": True, "chunk": 300}
    return NeRF(**settings | changes)


def filled(nerf, scene):
    """The renderer after it has looked at each cell in many places."""
    for step in range(20):
        nerf.refresh(scene.geometry, step)
    return nerf


def chord(camera):
    """How long each pixel's ray is inside the ball, and the distance to where it enters."""
    pixels = rays(camera)
    middle = -(pixels.origins * pixels.directions).sum(-1, keepdim=True)
    nearest = (pixels.origins + middle * pixels.directions).norm(dim=-1, keepdim=True)
    half = (RADIUS**2 - nearest**2).clamp_min(0).sqrt()
    return 2 * half, middle - half


@pytest.mark.parametrize("thickness", [1.0, 10.0, 300.0])
@pytest.mark.parametrize("training", [True, False])
def test_the_opacity_of_even_fog(camera, thickness, training):
    torch.manual_seed(0)
    scene = ball(thickness)
    nerf = filled(renderer(), scene)
    render = nerf.train(training)(scene, camera, 1)
    length, _ = chord(camera)
    rim = (length > 0) & (length < 0.25)  # a step matters there, and cells that were never hit
    expected = 1 - torch.exp(-thickness * length)
    torch.testing.assert_close(render.alpha[~rim], expected[~rim], atol=0.03, rtol=0)
    assert (render.alpha - expected).abs().mean() < 0.01


def test_dense_fog_has_depth_normal_and_colour(camera):
    scene = ball(300.0)
    nerf = filled(renderer(num_steps=1024), scene)
    with torch.no_grad():
        render = nerf.eval()(scene, camera, 0)
    length, enter = chord(camera)
    core = length[..., 0] > 0.4
    pixels = rays(camera)
    cosine = -(pixels.directions * camera.c2w[:, None, None, :3, 2]).sum(-1, keepdim=True)
    assert (render.depth - enter * cosine)[core].abs().mean() < 0.01
    outward = (pixels.origins + enter * pixels.directions) / RADIUS
    assert (render.normal * outward).sum(-1)[core].min() > 0.98
    red = (outward[..., 1] > 0.1) & core
    torch.testing.assert_close(
        render.rgb[red], torch.tensor([1.0, 0, 0]).expand(int(red.sum()), 3), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(render.rgb[0, 0, 0], torch.tensor([1.0, 1.0, 0.5]))
    assert render.normal[0, 0, 0].eq(0).all() and render.depth[0, 0, 0] == 0


def test_an_empty_grid_looks_everywhere_and_a_filled_one_only_where_there_is_fog(camera):
    nerf, scene = renderer().eval(), ball(50.0)
    with torch.no_grad():
        blind = nerf(scene, camera, 0)
        assert nerf.opacity.eq(0).all()  # evaluation does not look
        sighted = filled(nerf, scene)(scene, camera, 0)
    assert (blind.alpha - sighted.alpha).abs().max() < 0.05
    share = (nerf.opacity > 0).float().mean().item()
    assert share == pytest.approx(4 / 3 * math.pi * RADIUS**3 / 1.5**3, rel=0.3)


def test_intervals_that_nobody_sees_are_not_evaluated(camera):
    scene = ball(200.0)
    counts = []
    for min_weight in (0.0, 1e-3):
        nerf = filled(renderer(min_weight=min_weight), scene)
        render = nerf.train()(scene, camera, 1)
        counts.append(len(render.samples.weights))
        total = torch.zeros(render.alpha.numel()).index_add(0, render.samples.rays, render.samples.weights)
        torch.testing.assert_close(total, render.alpha.flatten())
    facing = (render.samples.gradients * render.samples.directions).sum(-1)
    near = render.samples.weights[facing < 0].sum() / render.samples.weights.sum()
    assert near > 0.95  # of the ball its near side is left
    assert counts[1] < counts[0] / 4


def test_gradients_reach_every_parameter(camera):
    torch.manual_seed(0)
    encoding = small_hashgrid()
    settings = {"radius": 0.75, "num_features": 3, "width": 16, "depth": 1, "activation": "softplus"}
    settings |= {"epsilon": 0.01, "threshold": 1.0, "min_component": 0.01}
    field = Density(encoding=encoding, bias=Cone(offset=0.0, scale=10.0, radius=0.4), **settings)
    scene = Scene(geometry=field, material=Plain(), background=Solid(rgb=[1.0, 1.0, 1.0]))
    with torch.no_grad():
        for parameter in scene.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    for normals in (True, False):
        render = renderer(normals=normals)(scene, camera, 0)
        assert (render.samples is not None) == normals == bool(render.normal.any())
        (render.rgb.mean() + render.alpha.mean() + render.depth.mean()).backward()
        for parameter in scene.parameters():
            assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().sum() > 0


def test_the_gradient_of_the_opacity(camera):
    nerf, scene = renderer().eval(), ball(2.0)
    nerf(scene, camera, 0).alpha.mean().backward()
    length, _ = chord(camera)
    expected = (length * torch.exp(-2.0 * length)).mean()
    assert scene.geometry.thickness.grad.item() == pytest.approx(expected.item(), rel=0.02)


def test_the_grid_is_saved_and_refreshed_when_it_is_time(camera):
    nerf, scene = renderer(refresh_every=4, warmup=0).train(), ball(50.0)
    assert "opacity" in nerf.state_dict()
    with torch.no_grad():
        nerf(scene, camera, 3)
        assert nerf.opacity.eq(0).all()
        torch.manual_seed(1)
        nerf(scene, camera, 4)
        first = nerf.opacity.clone()
        assert 0 < (first > 0).float().mean() < 0.1  # a quarter of the cells at a time
        again = renderer(refresh_every=4, warmup=0).train()
        torch.manual_seed(1)
        again(scene, camera, 4)
    assert torch.equal(again.opacity, first)


def test_the_picture_of_a_crop_is_a_crop_of_the_picture(camera):
    nerf, scene = renderer().eval(), ball(20.0)
    with torch.no_grad():
        whole = nerf(scene, camera, 0)
        part = nerf(scene, crop(camera, torch.tensor([5, 12]), 9, 16, 12), 0)
    for picture, window in zip(whole[:4], part[:4], strict=True):
        for i, top in enumerate((5, 12)):
            error = (window[i] - picture[i, top : top + 16, 9:21]).abs()
            assert error.mean() < 1e-3  # an interval's middle may fall on the other side of the rim


def test_it_says_what_it_takes(camera):
    scene = ball(1.0)
    scene.geometry = torch.nn.Identity()
    with pytest.raises(ValueError, match="renderer nerf"):
        renderer()(scene, camera, 0)
