"""The geometry of the lift: a point of the world is found again at its pixel and its depth."""

import math

import torch

from threestudio_like.ops.camera import orbit, rays
from threestudio_like.priors.lift import Lift, frustum_coordinates, sample_points, trilinear
from threestudio_like.records import Camera

RADIUS = 0.8


def cameras(count: int, size: int = 32) -> Camera:
    generator = torch.Generator().manual_seed(count)
    return orbit(
        azimuth=6 * torch.rand(count, generator=generator),
        elevation=torch.rand(count, generator=generator),
        distance=1.4 + 0.5 * torch.rand(count, generator=generator),
        fov_y=torch.full((count,), math.radians(49.134)),
        height=size,
        width=size,
    )


def small_lift() -> Lift:
    torch.manual_seed(0)
    return Lift(
        channels=4,
        radius=RADIUS,
        width=16,
        groups=8,
        features=4,
        depths=4,
        samples=6,
        hidden=8,
        out_channels=5,
        vector_channels=7,
    ).eval()


def test_points_on_a_pixels_ray_land_on_that_pixel():
    camera = cameras(3, size=8)
    origins, directions = rays(camera)
    points = (origins + 1.3 * directions).flatten(1, 2)
    places = frustum_coordinates(points, camera, RADIUS)
    middle = (torch.arange(8) + 0.5) / 4 - 1
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    torch.testing.assert_close(places[..., 0], x.flatten().expand(3, -1), rtol=0, atol=1e-5)
    torch.testing.assert_close(places[..., 1], y.flatten().expand(3, -1), rtol=0, atol=1e-5)


def test_depth_is_zero_at_the_origin_and_one_behind_the_ball():
    camera = cameras(2)
    forward = -camera.c2w[:, :3, 2]
    points = torch.stack([torch.zeros(2, 3), RADIUS * forward, -RADIUS * forward], dim=1)
    depth = frustum_coordinates(points, camera, RADIUS)[..., 2]
    torch.testing.assert_close(depth, torch.tensor([[0.0, 1, -1]]).expand(2, -1), rtol=0, atol=1e-5)


def test_samples_span_the_ball_on_the_middle_ray():
    points, along = sample_points(cameras(2, size=1), 4, RADIUS)
    distance = points[:, 0, 0].norm(dim=-1)
    torch.testing.assert_close(distance, (RADIUS * along.abs()).expand(2, -1), rtol=0, atol=1e-5)
    torch.testing.assert_close(along, torch.tensor([-0.75, -0.25, 0.25, 0.75]))


def test_trilinear_is_exact_for_linear_fields_and_zero_outside():
    middles = [(torch.arange(n) + 0.5) / n * 2 - 1 for n in (4, 5, 6)]
    z, y, x = torch.meshgrid(*middles, indexing="ij")
    volume = torch.stack([x, y, z, torch.ones_like(x)])[None]
    places = (torch.rand(2, 20, 3) * 2 - 1) * 0.74
    found = trilinear(volume, places)
    torch.testing.assert_close(found, torch.cat([places, torch.ones(2, 20, 1)], -1), rtol=0, atol=1e-5)
    assert trilinear(volume, places + 3).abs().max() == 0


def test_one_source_serves_many_targets():
    lift, target, source, picture = small_lift(), cameras(3), cameras(1), torch.randn(1, 4, 32, 32)
    vector = torch.randn(3, 7)
    with torch.no_grad():
        together = lift(picture, source, target, vector)
        repeated = Camera(source.c2w.expand(3, 4, 4), source.fov_y.expand(3), 32, 32)
        apart = lift(picture.expand(3, -1, -1, -1), repeated, target, vector)
    assert together.shape == (3, 5, 16, 16)
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_turning_object_and_cameras_together_changes_nothing():
    """Only the relative camera counts."""
    lift, target, source = small_lift(), cameras(2), cameras(2)
    picture, vector = torch.randn(2, 4, 32, 32), torch.zeros(2, 7)
    turn = orbit(
        azimuth=torch.tensor([1.0]),
        elevation=torch.tensor([0.4]),
        distance=torch.tensor([1.0]),
        fov_y=torch.tensor([1.0]),
        height=1,
        width=1,
    ).c2w[0, :3, :3]

    def turned(camera: Camera) -> Camera:
        c2w = camera.c2w.clone()
        c2w[:, :3] = turn @ c2w[:, :3]
        return camera._replace(c2w=c2w)

    with torch.no_grad():
        before = lift(picture, source, target, vector)
        after = lift(picture, turned(source), turned(target), vector)
        moved = lift(picture, source, turned(target), vector)
    torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-4)
    assert (before - moved).abs().max() > 1e-2


def test_gradients_reach_the_encoder():
    lift = small_lift()
    features = lift(torch.randn(2, 4, 32, 32), cameras(2), cameras(2), torch.zeros(2, 7))
    lift.regressed(features).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in lift.encoder.parameters())
