"""Samplers with the exact noise of Gaussian data: the spread of what they make is known to four digits."""

import pytest
import torch

from threestudio_like.schedule.oracle import gaussian_eps
from threestudio_like.schedule.samplers import ancestral, ddim, from_level, leading
from threestudio_like.schedule.vp import VP, linear, scaled_linear

LINEAR = VP(betas=linear(1000, 1e-4, 0.02))
STABLE = VP(betas=scaled_linear(1000, 0.00085, 0.012))
MEAN = 0.3


def eps_of(std, vp):
    return lambda x_t, t: gaussian_eps(x_t, t, vp, torch.tensor(MEAN), std)


@pytest.mark.parametrize(
    ("std", "small", "large"),
    [(0.05, 0.04629, 0.05039), (0.25, 0.24628, 0.25094), (1.0, 0.99552, 0.99995), (2.0, 1.99368, 1.99764)],
)
def test_ancestral_spread(std, small, large):
    """The chain is affine and Gaussian, so its variance is followed exactly, with the noise taken apart."""
    for variance, expected in (("small", small), ("large", large)):
        assert spread(std, variance) == pytest.approx(expected, abs=2e-5)


def spread(std, variance):
    """sqrt(sum of squares) of how each independent unit of noise moves the result."""
    levels = list(range(999, -1, -1))
    torch.manual_seed(0)
    drawn = torch.eye(1001, dtype=torch.float64)  # row i: only the i-th number drawn is 1, the rest are 0
    numbers = iter(drawn[1:])

    def randn_like(x):
        return next(numbers)[:, None]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn_like", randn_like)
        unit = ancestral(eps_of(std, LINEAR), drawn[0][:, None], levels, LINEAR, variance=variance, clip=None)
        numbers = iter(torch.zeros_like(drawn))
        zero = torch.zeros(1001, 1, dtype=torch.float64)
        base = ancestral(eps_of(std, LINEAR), zero, levels, LINEAR, variance=variance, clip=None)
    assert base[0].item() == pytest.approx(MEAN, abs=5e-3)
    return (unit - base).square().sum().sqrt().item()


@pytest.mark.parametrize(
    ("std", "spreads"),
    [(0.25, (0.1464, 0.1928, 0.2256, 0.2435)), (1.0, (0.8317, 0.9125, 0.9641, 0.9909))],
)
def test_ddim_spread(std, spreads):
    for count, expected in zip((10, 20, 50, 200), spreads, strict=True):
        x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        low, high = ddim(eps_of(std, LINEAR), x, leading(1000, count), LINEAR, eta=0.0, clip=None)
        assert (high - low).item() == pytest.approx(expected, abs=1e-4)


def test_ddim_with_full_noise_is_ancestral_sampling():
    levels, x = [800, 500, 200], torch.randn(2, 3, 4, 4)
    torch.manual_seed(1)
    one = ddim(eps_of(0.5, STABLE), x, levels, STABLE, eta=1.0, clip=None)
    torch.manual_seed(1)
    other = ancestral(eps_of(0.5, STABLE), x, levels, STABLE, variance="small", clip=None)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_clipping_keeps_pictures_in_range():
    x, levels, eps = 3 * torch.randn(4, 3, 4, 4), leading(1000, 20), eps_of(2.0, STABLE)
    assert ddim(eps, x, levels, STABLE, eta=0.0, clip=(-1.0, 1.0)).abs().max() <= 1
    assert ddim(eps, x, levels, STABLE, eta=0.0, clip=None).abs().max() > 1


def test_levels():
    assert leading(1000, 4) == [750, 500, 250, 0]
    assert from_level(300, 4) == [300, 200, 100, 0]
    assert from_level(2, 10) == [2, 1, 0]
