"""eps, v and x0 say the same, and their weighted errors are the same error of x_0."""

import pytest
import torch

from threestudio_like.schedule.prediction import eps_from, min_snr, target
from threestudio_like.schedule.vp import VP, scaled_linear

STABLE = VP(betas=scaled_linear(1000, 0.00085, 0.012))
T = torch.tensor([0, 10, 354, 700, 999])
KINDS = ("eps", "v", "x0")


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_is_the_noise_said_otherwise(kind):
    x, eps = torch.randn(2, 5, 3, 4, 4, dtype=torch.float64).unbind()
    said = target(kind, x, eps, T, STABLE)
    torch.testing.assert_close(eps_from(kind, STABLE.noised(x, eps, T), said, T, STABLE), eps)


def test_score_is_minus_eps_over_sigma_in_each():
    """Perfect for N(0, std^2), each kind has its score, -x_t / (alpha_bar std^2 + 1 - alpha_bar)."""
    std, x_t = 0.5, torch.randn(5, 7, dtype=torch.float64)
    alpha, sigma = STABLE.coefficients(T, x_t)
    x0 = alpha * std**2 * x_t / (alpha**2 * std**2 + sigma**2)
    for kind in KINDS:
        eps = eps_from(kind, x_t, target(kind, x0, STABLE.eps_from_x0(x_t, x0, T), T, STABLE), T, STABLE)
        score = STABLE.score_from_eps(eps, T)
        torch.testing.assert_close(score, -x_t / (alpha**2 * std**2 + sigma**2))


@pytest.mark.parametrize("kind", KINDS)
def test_min_snr_weighs_the_error_of_the_picture(kind):
    """Whatever is predicted, a wrong answer costs min(SNR, 5) times what it is wrong in x_0."""
    x, eps, wrong = torch.randn(3, 5, 12, dtype=torch.float64).unbind()
    x_t = STABLE.noised(x, eps, T)
    raw = target(kind, x, eps, T, STABLE) + wrong
    x0 = STABLE.x0_from_eps(x_t, eps_from(kind, x_t, raw, T, STABLE), T)
    snr = (STABLE.alpha_bar / (1 - STABLE.alpha_bar))[T].double()
    cost = min_snr(kind, T, STABLE, 5.0) * wrong.square().sum(-1)
    torch.testing.assert_close(cost, snr.clamp(max=5) * (x0 - x).square().sum(-1), rtol=1e-4, atol=1e-8)
