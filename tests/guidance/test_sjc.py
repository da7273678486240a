"""SJC on a prior in closed form: its fixed points, its likeness to SDS, and what averaging does."""

import math

import pytest
import torch

from threestudio_like.guidance.base import noised
from threestudio_like.guidance.cfg import CFG
from threestudio_like.guidance.sds import SDS
from threestudio_like.guidance.sjc import SJC
from threestudio_like.schedule.levels import Annealed, Uniform

MEAN, NULL, STD = 0.7, -0.2, 0.4


@pytest.fixture
def told(gaussian):
    return gaussian(cond=MEAN, null=NULL, std=STD)


def sjc(
    prior, *, form="standard", scale=7.5, weighting="uniform", levels=None, perturbations=1, reduced=True
):
    return SJC(
        prior=prior,
        cfg=CFG(form=form, scale=scale),
        levels=levels or Uniform(low=0.03, high=0.99),
        weighting=weighting,
        grad_clip=None,
        perturbations=perturbations,
        reduced=reduced,
    )


def gradients(guidance, image: torch.Tensor, camera, seed: int = 0) -> torch.Tensor:
    """Of each picture: B times the gradient of the loss, channels first."""
    torch.manual_seed(seed)
    image = image.clone().requires_grad_()
    guidance(image, ["a cup"] * len(image), camera, None, 0).backward()
    return image.grad.permute(0, 3, 1, 2) * len(image)


@pytest.mark.parametrize("reduced", [True, False])
@pytest.mark.parametrize("form, root", [("standard", 6.550), ("s+1", 7.450)])
def test_the_fixed_points_are_those_of_sds(form, root, reduced, told, cameras) -> None:
    guidance = sjc(told, form=form, reduced=reduced)
    alpha_bar = told.schedule.alpha_bar[30:991]
    slope = (alpha_bar * (1 - alpha_bar)).sqrt() / (STD**2 * alpha_bar + 1 - alpha_bar)
    for away in (0.0, 1.0):
        got = gradients(guidance, torch.full((4000, 4, 4, 4), root + away), cameras(4000))
        error = float(got.mean((1, 2, 3)).std() / math.sqrt(4000))
        assert float(got.mean()) == pytest.approx(float(slope.mean()) * away, abs=4 * error)
        assert error < 0.02


@pytest.mark.parametrize("weighting", ["uniform", "1-alpha_bar", "alpha/sigma"])
def test_reduced_it_is_sds_with_the_same_weighting(weighting, told, cameras) -> None:
    image, levels = torch.rand(5, 4, 4, 4), Uniform(low=0.02, high=0.98)
    sds = SDS(
        prior=told,
        cfg=CFG(form="standard", scale=7.5),
        levels=levels,
        weighting=weighting,
        grad_clip=None,
    )
    ours, theirs = (
        gradients(guidance, image, cameras(5), seed=3)
        for guidance in (sjc(told, weighting=weighting, levels=levels), sds)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("t", [100, 500, 900])
def test_the_mean_is_the_score_of_the_noisy_data_at_the_picture_itself(t, told, cameras) -> None:
    """For Gaussian data the score is linear, so averaging n out is exact: (m - x) / (s^2 + sigma^2)."""
    guidance = sjc(told, scale=1.0, weighting="alpha/sigma", levels=Annealed(level=t / 1000), perturbations=4)
    alpha_bar = told.schedule.alpha_bar[t]
    variance = float((1 - alpha_bar) / alpha_bar)
    got = gradients(guidance, torch.full((2000, 4, 4, 4), 1.5), cameras(2000))
    expected = (1.5 - MEAN) / (STD**2 + variance)
    assert float(got.mean()) == pytest.approx(expected, abs=4 * float(got.std()) / math.sqrt(got.numel()))
    assert float(got.std()) / math.sqrt(got.numel()) < 0.02 * expected


@pytest.mark.parametrize("reduced", [True, False])
def test_both_forms_are_those_of_the_perturbed_picture(reduced, told, cameras) -> None:
    """-(D - x) / sigma = eps_hat - n, -(D - z) / sigma = eps_hat: z = x + sigma n, D the guess at z."""
    guidance, image = sjc(told, scale=1.0, reduced=reduced), torch.rand(3, 4, 4, 4)
    got = gradients(guidance, image, cameras(3), seed=4)
    torch.manual_seed(4)
    x = told.encode(image)
    noisy = noised(x, guidance.levels, 0, told.schedule)
    alpha, sigma_t = told.schedule.coefficients(noisy.t, x)
    sigma = sigma_t / alpha
    z = x + sigma * noisy.eps
    guess = (STD**2 * z + sigma**2 * MEAN) / (STD**2 + sigma**2)  # the posterior's mean
    torch.testing.assert_close(got, -(guess - (x if reduced else z)) / sigma, rtol=1e-3, atol=1e-4)
    eps_hat = told.predict(noisy.x_t, noisy.t, told.condition([""] * 3, cameras(3), None))
    torch.testing.assert_close(got, eps_hat - noisy.eps if reduced else eps_hat, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("reduced, deviation", [(True, 0.16), (False, 0.84)])
def test_reducing_takes_the_noise_s_own_part_away(reduced, deviation, told, cameras) -> None:
    """Spread of eps_hat - n or of eps_hat, both linear in n; at sigma = 1 eps_hat is n / (1 + s^2)."""
    t = int((told.schedule.alpha_bar - 0.5).abs().argmin())
    guidance = sjc(told, scale=1.0, levels=Annealed(level=t / 1000), reduced=reduced)
    got = gradients(guidance, torch.full((2000, 4, 4, 4), MEAN), cameras(2000))
    share = 1 / (1 + STD**2)
    assert deviation == pytest.approx(1 - share if reduced else share, abs=0.03)
    assert float(got.std()) == pytest.approx(1 - share if reduced else share, rel=0.02)


def test_perturbations_divide_the_variance(told, cameras) -> None:
    level = Annealed(level=0.5)
    image = torch.full((2000, 4, 4, 4), MEAN)
    one, nine = (
        gradients(sjc(told, levels=level, perturbations=count), image, cameras(2000)).std()
        for count in (1, 9)
    )
    assert float(one / nine) == pytest.approx(3.0, rel=0.02)


def test_no_perturbation_is_refused(told) -> None:
    with pytest.raises(ValueError, match="perturbations: at least 1"):
        sjc(told, perturbations=0)
