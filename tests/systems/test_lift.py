"""Cameras around an object, and the sheet of pictures."""

import math

import torch

from systems.lift import around, one
from threestudio_like.data.cameras import Pose
from threestudio_like.ops.camera import spherical


def test_cameras_around_start_with_the_given_one_and_are_evenly_spaced():
    camera = Pose(30.0, 20.0, 1.6, 49.0).camera(8)
    ring = around(camera, 4)
    torch.testing.assert_close(ring.c2w[:1], camera.c2w)
    azimuth, elevation, distance = spherical(ring)
    steps = (azimuth.roll(-1) - azimuth) % (2 * math.pi)
    torch.testing.assert_close(steps, torch.full((4,), math.pi / 2))
    torch.testing.assert_close(elevation, torch.full((4,), math.radians(20)))
    torch.testing.assert_close(distance, torch.full((4,), 1.6))
    assert one(ring, 2).c2w.shape == (1, 4, 4) and torch.equal(one(ring, 2).c2w[0], ring.c2w[2])


def test_the_sheet_shows_the_picture_four_views_and_their_normals(built, ball):
    system = built("fine", "guidance.image.prior.weights=null", "guidance.view.prior.weights=null")
    sheet = system.pictures(ball(0))["views"]
    assert sheet.shape == (64, 160, 3)
    torch.testing.assert_close(sheet[:32, :32], ball(0).reference.rgba[0, ..., :3])
    assert sheet.min() >= 0 and sheet.max() <= 1 + 1e-6
