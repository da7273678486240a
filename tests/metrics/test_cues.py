"""Errors of depth and normals where they are known."""

import math

import pytest
import torch

from threestudio_like.metrics.cues import angles, depth_error, median_angle


def turned(degrees: torch.Tensor) -> torch.Tensor:
    """Unit vectors so far from +x."""
    turn = torch.deg2rad(degrees)
    return torch.stack([torch.cos(turn), torch.sin(turn), torch.zeros_like(turn)], dim=-1)


def test_angles():
    given = torch.tensor([0.0, 0.01, 45.0, 90.0, 179.99])
    x = torch.tensor([2.0, 0.0, 0.0]).expand(5, 3)
    torch.testing.assert_close(angles(x, turned(given)), given, rtol=1e-3, atol=1e-4)


def test_the_median_is_over_the_object_s_pixels():
    given = torch.tensor([[[10.0, 20.0, 30.0], [170.0, 160.0, 150.0]]])
    truth = torch.tensor([1.0, 0.0, 0.0]).expand(1, 2, 3, 3)
    mask = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 3, 1)
    assert median_angle(turned(given), truth, mask).item() == pytest.approx(20, abs=1e-3)
    assert median_angle(turned(given), truth, 0 * mask).isnan().all()


def test_depth_error_is_what_no_scale_and_shift_explains():
    column = torch.tensor([-1.0, -1.0, 1.0, 1.0]).view(1, 2, 2, 1)
    row = torch.tensor([-1.0, 1.0, -1.0, 1.0]).view(1, 2, 2, 1)
    mask, truth = torch.ones(1, 2, 2, 1), 1.6 + 0.3 * column + 0.1 * row
    assert depth_error(column, truth, mask).item() == pytest.approx(0.1, abs=1e-5)
    flat = depth_error(torch.zeros_like(truth), truth, mask).item()
    assert flat == pytest.approx(math.hypot(0.3, 0.1), abs=1e-5)
