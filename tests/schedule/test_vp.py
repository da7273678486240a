"""Golden numbers of the noise tables, and identities between the four parametrisations."""

import math

import pytest
import torch

from threestudio_like.schedule.vp import VP, cosine, linear, rectified, scaled_linear

DDPM = linear(1000, 1e-4, 0.02)
STABLE = scaled_linear(1000, 0.00085, 0.0120)


@pytest.mark.parametrize(("betas", "last", "crossing"), [(DDPM, 4.0358e-5, 258), (STABLE, 4.6601e-3, 354)])
def test_tables_and_where_signal_equals_noise(betas, last, crossing):
    alpha_bar = VP(betas=betas).alpha_bar.double()
    assert alpha_bar[-1].item() == pytest.approx(last, rel=1e-4)
    snr = alpha_bar / (1 - alpha_bar)
    assert int((snr - 1).abs().argmin()) == crossing


def test_cosine_follows_its_curve_but_for_the_clipped_end():
    vp = VP(betas=cosine(1000, 0.008))
    t = torch.tensor([0, 250, 500, 900])
    angle = ((t + 1) / 1000 + 0.008) / 1.008 * math.pi / 2
    start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    torch.testing.assert_close(vp.alpha_bar[t], torch.cos(angle) ** 2 / start, rtol=1e-4, atol=1e-6)
    assert 0 < vp.alpha_bar[-1] < 1e-6


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_rectified_paths_are_straight_but_for_their_scale(shift):
    vp = VP(betas=rectified(1000, shift))
    t = torch.arange(10, 1000)
    alpha, sigma = vp.coefficients(t, torch.zeros(len(t)))
    u = (t + 0.5) / 1000
    torch.testing.assert_close(sigma / (alpha + sigma), shift * u / (1 + (shift - 1) * u), rtol=1e-3, atol=0)
    x, eps = torch.randn(2, len(t))
    straight = vp.noised(x, eps, t) / (alpha + sigma)
    s = sigma / (alpha + sigma)
    torch.testing.assert_close(straight, (1 - s) * x + s * eps)


def test_single_steps_compose_to_the_closed_form():
    betas = scaled_linear(1000, 0.00085, 0.012)
    vp = VP(betas=betas)
    scale, variance = 1.0, 0.0
    for t, beta in enumerate(betas[:400].tolist()):
        scale, variance = scale * math.sqrt(1 - beta), variance * (1 - beta) + beta
        if t in (0, 99, 399):
            assert vp.alpha_bar[t].item() == pytest.approx(scale**2, rel=1e-5)
            assert 1 - vp.alpha_bar[t].item() == pytest.approx(variance, rel=1e-3)


def test_parametrisations_are_mutual_inverses():
    vp = VP(betas=STABLE)
    x, eps = torch.randn(2, 5, 3, 4, 4).unbind()
    t = torch.tensor([0, 10, 354, 700, 999])
    x_t, v = vp.noised(x, eps, t), vp.v(x, eps, t)
    torch.testing.assert_close(vp.eps_from_v(x_t, v, t), eps, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(vp.x0_from_v(x_t, v, t), x, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(vp.x0_from_eps(x_t, eps, t), x, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(vp.eps_from_x0(x_t, x, t), eps, rtol=1e-3, atol=1e-4)
    sigma = (1 - vp.alpha_bar[t]).sqrt().view(-1, 1, 1, 1)
    torch.testing.assert_close(vp.score_from_eps(eps, t) * sigma, -eps)
