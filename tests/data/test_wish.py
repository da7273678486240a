"""The words and the one pose, as often as pictures are asked for."""

import torch

from threestudio_like.data.cameras import Pose
from threestudio_like.data.wish import Wishes


def test_a_wish_is_the_same_at_every_step() -> None:
    pose = Pose(azimuth=30.0, elevation=15.0, distance=1.6, fov_y=49.134)
    first, later = (Wishes(prompt="a cup", pose=pose, count=2).wish(step, 0) for step in (0, 7))
    assert first.prompts == later.prompts == ["a cup", "a cup"] and later.step == 7
    assert torch.equal(first.camera.c2w, later.camera.c2w)
    assert torch.equal(first.camera.c2w[0], pose.camera(1).c2w[0]) and len(first.camera.c2w) == 2
