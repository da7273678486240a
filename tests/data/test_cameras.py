"""Random cameras: ranges, progress, distribution, and that they are a function of (seed, step, rank)."""

import math

import pytest
import torch

from threestudio_like.data.cameras import Cameras, Pose, pixels
from threestudio_like.ops.camera import spherical

START = Pose(azimuth=30.0, elevation=20.0, distance=1.6, fov_y=50.0)


def cameras(**changes):
    settings = dict(
        azimuth=[-180.0, 180.0],
        elevation=[-10.0, 45.0],
        distance=[0.9, 1.25],
        fov_y=[40.0, 60.0],
        uniform_share=0.5,
        progressive_until=0,
        resolution=lambda step: 32 + step,
        batch_size=4,
    )
    return Cameras(**(settings | changes))


def test_pose_is_where_it_says():
    azimuth, elevation, distance = spherical(START.camera(8))
    assert math.degrees(azimuth) == pytest.approx(30.0, abs=1e-4)
    assert math.degrees(elevation) == pytest.approx(20.0, abs=1e-4)
    assert float(distance) == pytest.approx(1.6)


def test_a_camera_stands_back_until_all_points_are_in_its_picture():
    corners = torch.cartesian_prod(*[torch.tensor([-0.5, 0.5])] * 3)
    far = START.seeing(corners, 0.9)
    assert far.distance > START.distance and far._replace(distance=START.distance) == START
    x, y = projected(far, corners).abs().amax(dim=0)
    assert float(max(x, y)) == pytest.approx(0.9, abs=1e-5)
    assert START.seeing(0.5 * corners, 0.9) == START  # near enough as it is


def projected(pose, points):
    """In the picture's square, [-1, 1]^2, by the camera's matrix."""
    whole = torch.cat([points, torch.ones(len(points), 1)], dim=1)
    local = whole @ torch.linalg.inv(pose.camera(1).c2w[0]).T
    return local[:, :2] / -local[:, 2:3] / math.tan(math.radians(pose.fov_y) / 2)


def test_function_of_seed_step_and_rank():
    make = cameras()
    same, again = make(1, 7, 0, START), make(1, 7, 0, START)
    assert torch.equal(same.c2w, again.c2w) and same.height == 39
    for other in (make(2, 7, 0, START), make(1, 8, 0, START), make(1, 7, 1, START)):
        assert not torch.allclose(same.c2w, other.c2w)


def test_ranges_are_kept_and_filled():
    azimuth, elevation, distance = spherical(cameras(batch_size=4000)(0, 5, 0, START))
    elevation = torch.rad2deg(elevation)
    assert -10.01 <= elevation.min() < -9 and 44 < elevation.max() <= 45.01
    assert 1.44 <= distance.min() < 1.45 and 1.99 < distance.max() <= 2.0  # shares of the start's 1.6
    assert azimuth.min() < -3.1 and azimuth.max() > 3.1


@pytest.mark.parametrize(
    ("share", "mean"),
    [
        (1.0, 30.0),
        # density cos e over 0..60 degrees: the integral of e cos e, over that of cos e
        (0.0, math.degrees(math.pi / 3 - 0.5 / math.sin(math.pi / 3))),
    ],
)
def test_elevation_is_uniform_in_degrees_or_on_the_sphere(share, mean):
    make = cameras(elevation=[0.0, 60.0], uniform_share=share, batch_size=40000)
    found = torch.rad2deg(spherical(make(0, 3, 0, START))[1]).mean()
    assert float(found) == pytest.approx(mean, abs=0.4)


def test_progress_opens_the_range_from_the_reference_camera():
    make = cameras(progressive_until=99, uniform_share=1.0, batch_size=2000)
    first, half = make(0, 0, 0, START), make(0, 50, 0, START)
    azimuth, elevation, _ = (torch.rad2deg(value) for value in spherical(first))
    assert torch.allclose(azimuth, torch.tensor(30.0), atol=1e-3)
    assert torch.allclose(elevation, torch.tensor(20.0), atol=1e-3)
    azimuth, elevation, _ = (torch.rad2deg(value) for value in spherical(half))
    assert azimuth.min() > -60.1 and azimuth.max() < 120.1 and azimuth.max() - azimuth.min() > 170
    assert elevation.min() >= 5 - 1e-3 and elevation.max() <= 32.5 + 1e-3


def test_a_side_begins_whole_and_is_rounded_on_its_way():
    assert pixels(lambda step: 16 + step / 4, 3) == 17
    for value in (16.5, 0.0, 2e4):
        with pytest.raises(
            ValueError, match=f"^resolution: expected a whole number .*, got {value:g} at step 0"
        ):
            pixels(lambda step, value=value: value, 0)


def test_a_range_upside_down_is_refused():
    with pytest.raises(ValueError, match=r"cameras\.elevation: expected \[low, high\]"):
        cameras(elevation=[45.0, -10.0])
