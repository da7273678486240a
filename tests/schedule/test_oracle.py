"""The floors of L_simple, and the mixture against the gradient of its own log-density."""

import math

import pytest
import torch

from threestudio_like.schedule.oracle import gaussian_eps, gaussian_score, mixture_eps, mixture_score
from threestudio_like.schedule.vp import VP, linear, scaled_linear

DDPM = linear(1000, 1e-4, 0.02)
STABLE = scaled_linear(1000, 0.00085, 0.0120)


@pytest.mark.parametrize(
    ("betas", "std", "floor"),
    [(DDPM, 0.25, 0.09864), (DDPM, 0.5, 0.17305), (DDPM, 1.0, 0.27551)]
    + [(STABLE, 0.25, 0.10730), (STABLE, 0.5, 0.21764), (STABLE, 1.0, 0.37338)],
)
def test_floor_of_the_simple_loss(betas, std, floor):
    """The error of the exact prediction: its expectation by a symmetric two-point rule, exact for squares."""
    vp = VP(betas=betas)
    t = torch.arange(1000)
    total = 0.0
    for x_sign, eps_sign in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        x, eps = torch.full((1000, 1), 0.3 + x_sign * std), torch.full((1000, 1), float(eps_sign))
        x, eps = x.double(), eps.double()
        error = gaussian_eps(vp.noised(x, eps, t), t, vp, torch.tensor(0.3), std) - eps
        total += error.square().mean().item() / 4
    assert total == pytest.approx(floor, abs=1e-5)


def test_mixture_is_minus_sigma_times_the_score():
    vp = VP(betas=STABLE)
    means, weights, std = torch.randn(3, 2, 2).double(), torch.tensor([0.2, 0.5, 0.3]).double(), 0.3
    x_t = torch.randn(4, 2, 2).double().requires_grad_()
    t = torch.tensor([5, 200, 500, 900])
    alpha, sigma = vp.coefficients(t, x_t.detach())
    spread = (alpha**2 * std**2 + sigma**2).flatten(1)
    away = (x_t[:, None] - alpha[:, None] * means).flatten(2).square().sum(-1)
    log_likelihood = -0.5 * away / spread - 2 * torch.log(2 * math.pi * spread)  # of 4 numbers
    density = torch.logsumexp(weights.log() + log_likelihood, dim=1)
    (score,) = torch.autograd.grad(density.sum(), x_t)
    torch.testing.assert_close(mixture_eps(x_t.detach(), t, vp, means, std, weights), -sigma * score)


def test_mixture_of_one_is_the_gaussian():
    vp = VP(betas=STABLE)
    x_t, mean, t = torch.randn(2, 3, 4), torch.randn(3, 4), torch.tensor([100, 800])
    one = mixture_eps(x_t, t, vp, mean[None], 0.5, torch.ones(1))
    torch.testing.assert_close(one, gaussian_eps(x_t, t, vp, mean, 0.5))


def test_scores_with_added_noise_are_gradients_of_their_densities():
    means = torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.0, 2.0]], dtype=torch.float64)
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    x = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    sigma = torch.rand(6, 1, dtype=torch.float64)
    spread = 0.4**2 + sigma**2
    exponents = -0.5 * (x[:, None] - means).square().sum(-1) / spread + weights.log()
    (wanted,) = torch.autograd.grad(torch.logsumexp(exponents, 1).sum(), x)
    found = mixture_score(x.detach(), sigma, means, 0.4, weights)
    torch.testing.assert_close(found, wanted)
    alone = gaussian_score(x.detach(), sigma, means[0], 0.4)
    torch.testing.assert_close(alone, mixture_score(x.detach(), sigma, means[:1], 0.4, weights[:1]))
