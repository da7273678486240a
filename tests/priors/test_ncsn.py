"""The score network: its score is the score of what it says is noise, and as a Prior it says the same."""

import pytest
import torch

from threestudio_like.priors.base import Condition
from threestudio_like.priors.ncsn import NCSN
from threestudio_like.priors.points import Denoiser
from threestudio_like.schedule.oracle import gaussian_eps, gaussian_score
from threestudio_like.schedule.samplers import ddim, heun
from threestudio_like.schedule.ve import VE, Overlapping, geometric

STD, MEAN = 0.3, torch.tensor([0.4, -0.2]).view(2, 1, 1)


@pytest.fixture
def perfect() -> NCSN:
    """Its network knows N(MEAN, STD^2)."""
    ladder = VE(sigmas=geometric(40, 50.0, 0.01))
    prior = NCSN(ladder=ladder, size=1, denoiser=Denoiser(channels=2, width=4, depth=1), weights=None)
    prior.denoiser.forward = lambda x_t, t, condition: gaussian_eps(x_t, t, prior.schedule, MEAN, STD)
    return prior


def test_score_of_each_level(perfect):
    """-(x - m) / (s^2 + sigma^2), at every level of the ladder."""
    level, x = torch.arange(40), torch.randn(40, 2, 1, 1)
    sigma = perfect.ladder.deviation(level, x)
    said = perfect.score(x, level)
    torch.testing.assert_close(said, gaussian_score(x, sigma, MEAN, STD), rtol=3e-3, atol=1e-4)


def test_levels_run_against_t(perfect):
    level, sigma = perfect.noise_levels(torch.tensor([0, 39]))
    assert level.tolist() == [39, 0] and sigma.tolist() == pytest.approx([0.01, 50.0])


@pytest.mark.parametrize("sampler", [heun, lambda *a, clip: ddim(*a, eta=0.0, clip=clip)])
def test_samplers_of_chains_take_it(perfect, sampler):
    """From pure noise at the last t down to the data, by the prior alone."""
    torch.manual_seed(0)
    noise = torch.randn(4000, 2, 1, 1)
    levels = list(range(39, -1, -1))
    x = sampler(
        lambda x_t, t: perfect.predict(x_t, t, Condition()), noise, levels, perfect.schedule, clip=None
    )
    torch.testing.assert_close(x.mean(0), MEAN, atol=0.03, rtol=0)
    assert x.std().item() == pytest.approx((STD**2 + MEAN.var(correction=0).item()) ** 0.5, rel=0.15)


def test_an_overlapping_ladder_is_of_the_pictures_own_dimensions():
    denoiser = Denoiser(channels=3, width=4, depth=1)
    ladder = Overlapping(start=50.0, end=0.01)
    prior = NCSN(ladder=ladder, size=32, denoiser=denoiser, weights=None)
    torch.testing.assert_close(prior.ladder.sigmas, ladder.ladder(3 * 32 * 32).sigmas)
    assert prior.schedule.num_steps == prior.ladder.num_levels > 200


def test_points_are_pictures_of_one_pixel(perfect):
    picture = torch.rand(5, 1, 1, 4)
    point = perfect.encode(picture)
    assert point.shape == (5, 2, 1, 1)
    torch.testing.assert_close(perfect.decode(point)[..., :2], picture[..., :2])
    assert (perfect.decode(point)[..., 2:] == 1).all()
