"""Langevin sampling with exact scores: its variance is followed exactly, its mixtures are counted."""

import pytest
import torch

from threestudio_like.schedule.langevin import annealed, annealed_langevin, langevin, matched
from threestudio_like.schedule.oracle import gaussian_eps, gaussian_score, mixture_score
from threestudio_like.schedule.ve import VE, betas, geometric
from threestudio_like.schedule.vp import VP, cosine

NCSN = VE(sigmas=geometric(10, 1.0, 0.01))


def variance(std, convention):
    """Of annealed Langevin from one point: the chain is affine, so unit noises are followed one by one."""
    units = 1001
    drawn = iter(torch.eye(units, dtype=torch.float64)[1:])

    def randn_like(x):
        return next(drawn)[:, None]

    def score(x, level):
        return gaussian_score(x, NCSN.deviation(level, x), torch.zeros(()), std)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn_like", randn_like)
        start = torch.zeros(units, 1, dtype=torch.float64)
        x = annealed_langevin(score, start, NCSN, step=2e-5, count=100, convention=convention, denoise=False)
    return x.square().sum().item()


@pytest.mark.parametrize(
    ("std", "code", "paper"),
    [(0.0, 1.1111, 1.0526), (0.1, 1.0282, 1.0577), (0.25, 1.0309, 1.0608), (0.5, 1.0312, 1.0612)],
)
def test_variance_of_annealed_langevin(std, code, paper):
    target = std**2 + 0.01**2
    assert variance(std, "code") / target == pytest.approx(code, abs=1e-4)
    assert variance(std, "paper") / target == pytest.approx(paper, abs=1e-4)


@pytest.mark.parametrize(("convention", "drift"), [("code", 0.02), ("paper", 0.01)])
def test_langevin_settles_at_more_than_the_variance(convention, drift):
    """s^2 / (1 - drift / (2 s^2)): steps of a size go past, and nothing takes the excess back."""
    std, units = 0.2, 101
    drawn = iter(torch.eye(units, dtype=torch.float64)[1:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn_like", lambda x: next(drawn)[:, None])
        start = torch.zeros(units, 1, dtype=torch.float64)
        x = langevin(lambda x: -x / std**2, start, step=0.02, count=units - 1, convention=convention)
    assert x.square().sum().item() == pytest.approx(std**2 / (1 - drift / (2 * std**2)), rel=1e-9)


@pytest.mark.parametrize(("start", "levels", "eps"), [(50.0, 232, 6.2e-6), (90.0, 500, 3.3e-6)])
def test_matched_steps_are_those_of_ncsnv2(start, levels, eps):
    """Of CIFAR-10 and CelebA (Song and Ermon 2020), with 5 steps a level down to 0.01."""
    assert matched(VE(sigmas=geometric(levels, start, 0.01)), 5) * 0.01**2 == pytest.approx(eps, abs=1e-7)


def ending(ratio, convention):
    """Variance over sigma_L^2 of what annealed Langevin makes of one point at 0, 5 steps a level."""
    chain = VP(betas=betas(geometric(30, 10.0, 0.1)))
    drawn = iter(torch.eye(151, dtype=torch.float64)[1:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn_like", lambda x: next(drawn)[:, None])
        x = annealed(
            lambda x_t, t: gaussian_eps(x_t, t, chain, torch.zeros(()), 0.0),
            torch.zeros(151, 1, dtype=torch.float64),
            list(range(29, -1, -1)),
            chain,
            ratio=ratio,
            count=5,
            convention=convention,
            denoise=False,
        )
    return x.square().sum().item() / 0.1**2


def test_matched_steps_follow_the_ladder_best():
    """Both conventions take the same steps; longer and shorter ones end with more variance."""
    best = matched(VE(sigmas=geometric(30, 10.0, 0.1)), 5)
    found = ending(None, "code")
    assert found == pytest.approx(ending(None, "paper"), rel=1e-9)
    assert found == pytest.approx(ending(best, "code"), rel=1e-4)
    assert 1 < found < min(ending(0.6 * best, "code"), ending(1.6 * best, "code"))


def mixture(x, sigma):
    means = torch.tensor([[5.0, 5.0], [-5.0, -5.0]])
    return mixture_score(x, sigma, means, 1.0, torch.tensor([0.8, 0.2]))


def share_of_first(x):
    return (x.sum(-1) > 0).float().mean().item()


def test_mixture_weights_are_lost_by_plain_and_kept_by_annealed_langevin():
    """Song and Ermon's toy (section 3.2.2): 80 : 20 at +-5, from uniform points."""
    torch.manual_seed(0)
    start = 16 * torch.rand(2000, 2) - 8
    none = torch.zeros(len(start), 1)
    plain = langevin(lambda x: mixture(x, none), start, step=0.1, count=500, convention="paper")
    assert share_of_first(plain) == pytest.approx(0.5, abs=0.05)
    ladder = VE(sigmas=geometric(10, 20.0, 1.0))
    annealed = annealed_langevin(
        lambda x, level: mixture(x, ladder.deviation(level, x)),
        start,
        ladder,
        step=0.1,
        count=100,
        convention="paper",
        denoise=False,
    )
    assert share_of_first(annealed) == pytest.approx(0.8, abs=0.05)


def test_denoising_takes_the_last_noise_away():
    """Delta data at 0: Tweedie's step lands on it."""
    x = torch.randn(5, 3)
    end = annealed_langevin(
        lambda x, level: -x / NCSN.deviation(level, x) ** 2,
        x,
        NCSN,
        step=2e-5,
        count=2,
        convention="code",
        denoise=True,
    )
    assert end.abs().max() < 1e-6


def test_by_the_noise_it_is_the_same_chain():
    """eps on the scale of a VP chain, and the score on the ladder's own."""
    chain, std, x = VP(betas=betas(NCSN.sigmas)), 0.25, torch.randn(6, 3, dtype=torch.float64)
    options = {"count": 3, "convention": "paper", "denoise": True}

    def eps(x_t, t):
        return gaussian_eps(x_t, t, chain, torch.zeros(()), std)

    def score(y, level):
        return gaussian_score(y, NCSN.deviation(level, y), torch.zeros(()), std)

    torch.manual_seed(0)
    one = annealed(eps, x, list(range(9, -1, -1)), chain, ratio=0.2, **options)
    torch.manual_seed(0)
    start = x * (1 + NCSN.sigmas[0].double() ** 2).sqrt()
    other = annealed_langevin(score, start, NCSN, step=2e-5, **options)
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_chain_of_ddpm_can_be_climbed_down_too():
    chain = VP(betas=cosine(1000, 0.008))

    def eps(x_t, t):
        return gaussian_eps(x_t, t, chain, torch.tensor(0.3), 0.5)

    torch.manual_seed(0)
    levels = [*range(950, 0, -25), 0]
    start = torch.randn(8000, 1)
    x = annealed(eps, start, levels, chain, ratio=0.1, count=20, convention="code", denoise=True)
    assert x.mean().item() == pytest.approx(0.3, abs=0.04)
    assert x.std().item() == pytest.approx(0.5, abs=0.04)
