"""Picture losses against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch

from threestudio_like.losses import image as losses


@pytest.fixture
def half_mask():
    mask = torch.zeros(1, 2, 2, 1)
    mask[:, 0] = 1
    return mask


def test_masked_means_count_the_whole_picture(half_mask):
    image, target = torch.full((1, 2, 2, 3), 0.5), torch.zeros(1, 2, 2, 3)
    assert losses.masked_mse(image, target, half_mask).item() == pytest.approx(0.25 / 2)
    assert losses.masked_l1(image, target, half_mask).item() == pytest.approx(0.5 / 2)


def test_nothing_outside_the_mask_counts(half_mask):
    image = torch.rand(1, 2, 2, 3)
    target = image.clone()
    target[:, 1] = 7
    assert losses.masked_mse(image, target, half_mask).item() == 0


def test_erosion_takes_a_border():
    mask = torch.zeros(1, 9, 9, 1)
    mask[:, 2:7, 2:7] = 1
    assert losses.eroded(mask, 1).sum() == 9
    assert losses.eroded(mask, 0).equal(mask)


def test_mask_losses():
    alpha, mask = torch.full((1, 2, 2, 1), 0.25), torch.ones(1, 2, 2, 1)
    assert losses.mask_mse(alpha, mask).item() == pytest.approx(0.75**2)
    assert losses.mask_bce(alpha, mask).item() == pytest.approx(-math.log(0.25))
    assert torch.isfinite(losses.mask_bce(torch.zeros_like(alpha), mask))


def test_smoothness_of_a_ramp():
    ramp = torch.arange(4.0).view(1, 1, 4, 1).expand(1, 3, 4, 1)
    assert losses.smoothness(ramp, torch.ones(1, 3, 4, 1)).item() == pytest.approx(1)
    assert losses.smoothness(ramp, torch.zeros(1, 3, 4, 1)).item() == 0


def test_pearson_is_numpys_under_a_mask():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 1, 50, generator=generator)
    mask = (torch.rand(1, 50, generator=generator) > 0.4).float()
    expected = np.corrcoef(x[0, mask[0] > 0], y[0, mask[0] > 0])[0, 1]
    assert losses.pearson(x, y, mask).item() == pytest.approx(expected, abs=1e-5)


def test_pearson_of_a_constant_is_zero_with_finite_gradient():
    x = torch.ones(1, 8, requires_grad=True)
    correlation = losses.pearson(x, torch.randn(1, 8), torch.ones(1, 8))
    correlation.sum().backward()
    assert correlation.item() == 0 and torch.isfinite(x.grad).all()


def test_roughness_counts_steps_both_ways():
    ramp = (torch.arange(4.0)[:, None] + 10 * torch.arange(3.0)).view(1, 4, 3, 1)
    assert losses.roughness(ramp).item() == pytest.approx((1 + 10) / 2)
