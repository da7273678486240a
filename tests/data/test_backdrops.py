"""Backgrounds: in range, a function of the generator, and with others at the sides of some."""

import numpy as np
import torch

from threestudio_like.data.backdrops import backdrops, noise
from threestudio_like.data.cameras import Pose
from threestudio_like.ops.camera import repeated
from threestudio_like.records import View


def discs(count: int, side: int) -> View:
    """Pure green discs in the middle."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
    alpha = (x**2 + y**2 < 0.2).float()[None, ..., None].expand(count, -1, -1, -1)
    green = torch.tensor([0.0, 1.0, 0.0]).expand(count, side, side, 3)
    return View(repeated(Pose(0.0, 0.0, 1.6, 49.0).camera(side), count), green, alpha)


def test_noise_is_a_function_of_its_generator_and_differs_from_picture_to_picture():
    one, same = (noise(np.random.default_rng(3), 4, 32, 48) for _ in range(2))
    assert torch.equal(one, same) and one.shape == (4, 32, 48, 3)
    assert one.min() >= 0 and one.max() <= 1
    assert (one[0] - one[1]).abs().mean() > 0.01
    assert one.std(dim=(1, 2)).mean() > 0.02


def test_a_third_has_another_object_at_a_side():
    pictures = backdrops(np.random.default_rng(0), discs(60, 32))
    assert pictures.min() >= 0 and pictures.max() <= 1
    green = (pictures == torch.tensor([0.0, 1.0, 0.0])).all(-1)
    found = green.flatten(1).any(1)
    assert 10 <= int(found.sum()) <= 32
    columns = green[found].any(1).any(0).nonzero()[:, 0]
    assert len(columns) and (int(columns.max()) < 12 or int(columns.min()) > 19)
