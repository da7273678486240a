"""Samplers with the exact noise of Gaussian data: the spread of what they make is known to four digits."""

import pytest
import torch

from threestudio_like.schedule.oracle import gaussian_eps
from threestudio_like.schedule.samplers import ancestral, ddim, from_level, heun, leading, split
from threestudio_like.schedule.vp import VP, linear, scaled_linear

LINEAR = VP(betas=linear(1000, 1e-4, 0.02))
STABLE = VP(betas=scaled_linear(1000, 0.00085, 0.012))
MEAN = 0.3


def eps_of(std, vp):
    return lambda x_t, t: gaussian_eps(x_t, t, vp, torch.tensor(MEAN), std)


@pytest.mark.parametrize(
    ("std", "small", "large"),
    [
        (0.05, 0.04629, 0.05039),
        (0.25, 0.24628, 0.25094),
        (0.5, 0.49611, 0.50075),
        (1.0, 0.99552, 0.99995),
        (2.0, 1.99368, 1.99764),
    ],
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
    assert base[0].item() == pytest.approx(MEAN, abs=5e-5)
    return (unit - base).square().sum().sqrt().item()


def test_one_ancestral_step_is_bayes():
    """q(x_before | x_t, x_0) ~ q(x_t | x_before) q(x_before | x_0): two Gaussians multiplied."""
    level, following, x0, x_t = 700, 640, 0.4, -0.9
    now, before = (LINEAR.alpha_bar[t].double() for t in (level, following))
    step = now / before  # x_t = sqrt(step) x_before + sqrt(1 - step) noise
    precision = step / (1 - step) + 1 / (1 - before)
    mean = (step.sqrt() * x_t / (1 - step) + before.sqrt() * x0 / (1 - before)) / precision

    def eps(x, t):
        return LINEAR.eps_from_x0(x, torch.full_like(x, x0), t) if int(t[0]) == level else torch.zeros_like(x)

    for unit in (0.0, 1.0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "randn_like", lambda x, unit=unit: torch.full_like(x, unit))
            patch.setattr("threestudio_like.schedule.samplers.split", recorded := Recorded())
            start = torch.full((1, 1), x_t, dtype=torch.float64)
            ancestral(eps, start, [level, following], LINEAR, variance="small", clip=None)
        expected = mean + unit / precision.sqrt()
        torch.testing.assert_close(recorded.seen[1][0, 0], expected, rtol=1e-5, atol=1e-6)


class Recorded:
    """`split`, and at which x_t it was asked."""

    def __init__(self):
        self.seen = []

    def __call__(self, eps, x_t, t, schedule, clip):
        self.seen.append(x_t)
        return split(eps, x_t, t, schedule, clip)


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


def test_ddim_with_full_noise_is_euler_ancestral():
    """k-diffusion's step, written on the scale where noise is added: y = x_t / sqrt(alpha_bar)."""
    levels, x = [800, 500, 200], torch.randn(2, 3, 4, 4, dtype=torch.float64)
    alpha_bar = STABLE.alpha_bar[levels].double()
    sigma = ((1 - alpha_bar) / alpha_bar).sqrt()
    torch.manual_seed(1)
    y = x / alpha_bar[0].sqrt()
    for i, level in enumerate(levels):
        eps = eps_of(0.5, STABLE)(y * alpha_bar[i].sqrt(), torch.full((2,), level))
        after = sigma[i + 1] if i < 2 else torch.zeros(())
        up = after * (1 - after**2 / sigma[i] ** 2).sqrt()
        y = y + ((after**2 - up**2).sqrt() - sigma[i]) * eps
        y = y + up * torch.randn_like(y) if i < 2 else y
    torch.manual_seed(1)
    torch.testing.assert_close(ddim(eps_of(0.5, STABLE), x, levels, STABLE, eta=1.0, clip=None), y)


def inverted(x, count, eps):
    """DDIM's steps from a picture up to noise: each with the noise that is believed where it goes to."""
    before = torch.ones((), dtype=torch.float64)
    for level in reversed(from_level(999, count)):
        noise, alpha_bar = eps(x, torch.full((len(x),), level)), LINEAR.alpha_bar[level].double()
        x0 = (x - (1 - before).sqrt() * noise) / before.sqrt()
        x, before = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise, alpha_bar
    return x


def test_ddim_brings_back_the_picture_that_it_was_run_up_from():
    """The nearer, the more steps: by their number, as of Euler's."""
    eps, x = eps_of(0.5, LINEAR), torch.tensor([[-0.9], [0.3], [1.1]], dtype=torch.float64)
    errors = []
    for count in (100, 200, 400):
        noise = inverted(x, count, eps)
        back = ddim(eps, noise, from_level(999, count), LINEAR, eta=0.0, clip=None)
        errors.append((back - x).abs().max().item())
        torch.testing.assert_close(noise, (x - MEAN) / 0.5, atol=0.1, rtol=0)  # the noise of these pictures
    assert errors[0] < 0.05 and errors[0] / errors[1] > 1.7 and errors[1] / errors[2] > 1.7


def final(sampler, std, count):
    """How far apart two starts one unit apart end."""
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    low, high = sampler(eps_of(std, LINEAR), x, from_level(999, count), LINEAR)
    return (high - low).item()


def test_heun_is_of_second_order():
    """The flow takes a unit to s / sqrt(alpha_bar s^2 + 1 - alpha_bar): errors fall as 1 / n^2."""
    std, last = 0.5, LINEAR.alpha_bar[-1].item()
    exact = std / (last * std**2 + 1 - last) ** 0.5
    flow = {count: final(lambda *a: heun(*a, clip=None), std, count) for count in (20, 40, 80)}
    euler = final(lambda *a: ddim(*a, eta=0.0, clip=None), std, 80)
    errors = [abs(flow[count] - exact) for count in (20, 40, 80)]
    assert errors[0] / errors[1] > 3 and errors[1] / errors[2] > 3
    assert errors[2] < abs(euler - exact) / 10


def test_heun_is_exact_where_the_picture_is_known():
    x = torch.randn(3, 2, dtype=torch.float64)
    end = heun(eps_of(0.0, LINEAR), x, [999, 500, 3], LINEAR, clip=None)
    torch.testing.assert_close(end, torch.full_like(end, MEAN), rtol=1e-6, atol=1e-6)


def test_clipping_keeps_pictures_in_range():
    x, levels, eps = 3 * torch.randn(4, 3, 4, 4), leading(1000, 20), eps_of(2.0, STABLE)
    assert ddim(eps, x, levels, STABLE, eta=0.0, clip=(-1.0, 1.0)).abs().max() <= 1
    assert ddim(eps, x, levels, STABLE, eta=0.0, clip=None).abs().max() > 1


def test_levels():
    assert leading(1000, 4) == [750, 500, 250, 0]
    assert leading(3, 4) == [2, 1, 0]
    assert leading(10, 6) == [8, 6, 5, 3, 1, 0]
    for count in (7, 501, 999):  # no hole, whether it divides or not
        levels = leading(1000, count)
        gaps = {high - low for high, low in zip(levels, levels[1:], strict=False)}
        assert len(levels) == count and levels[-1] == 0 and gaps <= {1000 // count, 1000 // count + 1}
        assert 1000 - levels[0] <= 1000 // count + 1
    assert from_level(300, 4) == [300, 200, 100, 0]
    assert from_level(2, 10) == [2, 1, 0]
