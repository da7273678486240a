"""The four numbers of Zero-1-to-3 against its own conventions."""

import math

import pytest
import torch

from threestudio_like.ops.camera import orbit
from threestudio_like.priors.pose import Pose, polar, relative_pose
from threestudio_like.records import Camera


def at(azimuth: float, elevation: float, distance: float) -> Camera:
    """Degrees."""
    one = torch.ones(1)
    return orbit(
        azimuth=math.radians(azimuth) * one,
        elevation=math.radians(elevation) * one,
        distance=distance * one,
        fov_y=0.857 * one,
        height=32,
        width=32,
    )


def test_no_motion():
    camera = at(70, 20, 1.5)
    torch.testing.assert_close(relative_pose(camera, camera), torch.tensor([[0.0, 0, 1, 0]]))


def test_going_up_lowers_the_polar_angle():
    pose = relative_pose(at(0, 0, 1.5), at(0, 30, 1.5))
    assert pose[0, 0].item() == pytest.approx(-0.5236, abs=1e-4)


def test_swapping_negates_all_but_the_cosine():
    here, there = at(10, 5, 1.5), at(100, 40, 1.9)
    forth, back = relative_pose(here, there), relative_pose(there, here)
    torch.testing.assert_close(forth * torch.tensor([-1.0, -1, 1, -1]), back)


def test_turning_both_about_z_changes_nothing():
    torch.testing.assert_close(
        relative_pose(at(10, 5, 1.5), at(100, 40, 1.9)), relative_pose(at(200, 5, 1.5), at(290, 40, 1.9))
    )


def test_crossing_the_seam_of_the_azimuth():
    pose = relative_pose(at(175, 0, 1.5), at(-175, 0, 1.5))
    assert pose[0, 1].item() == pytest.approx(math.sin(math.radians(10)), abs=1e-5)


def test_polar_angle_is_measured_from_the_top():
    assert polar(at(0, 30, 1.5)).item() == pytest.approx(math.radians(60), abs=1e-5)


def test_one_source_serves_many_targets():
    torch.manual_seed(0)
    pose = Pose(hidden=8, out_channels=6)
    targets = [at(10, 5, 1.5), at(100, 40, 1.9)]
    both = Camera(torch.cat([c.c2w for c in targets]), torch.cat([c.fov_y for c in targets]), 32, 32)
    picture = torch.zeros(1, 4, 8, 8)
    each = torch.cat([pose(picture, at(0, 0, 1.6), target) for target in targets])
    torch.testing.assert_close(pose(picture, at(0, 0, 1.6), both), each)


def test_tilting_both_about_x_changes_it():
    """The world has an up: only turns about it leave the pose alone."""
    tilt = torch.eye(4)
    tilt[1:3, 1:3] = torch.tensor([[math.cos(0.5), -math.sin(0.5)], [math.sin(0.5), math.cos(0.5)]])
    here, there = at(10, 5, 1.5), at(100, 40, 1.9)
    tilted = [camera._replace(c2w=tilt @ camera.c2w) for camera in (here, there)]
    assert (relative_pose(*tilted) - relative_pose(here, there)).abs().max() > 0.1
