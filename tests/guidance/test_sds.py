import math

import pytest
import torch

from threestudio_like.guidance.base import noised
from threestudio_like.guidance.cfg import CFG
from threestudio_like.guidance.sds import SDS
from threestudio_like.schedule.levels import Annealed, Uniform


def sds(prior, *, form="standard", scale=7.5, weighting="1-alpha_bar", levels=None, grad_clip=None) -> SDS:
    return SDS(
        prior=prior,
        cfg=CFG(form=form, scale=scale),
        levels=levels or Uniform(low=0.02, high=0.98),
        weighting=weighting,
        grad_clip=grad_clip,
    )


def gradients(guidance: SDS, image: torch.Tensor, camera, step: int = 0) -> torch.Tensor:
    """Of each picture: B times the gradient of the loss, channels first."""
    image = image.clone().requires_grad_()
    guidance(image, ["a cup"] * len(image), camera, None, step).backward()
    return image.grad.permute(0, 3, 1, 2) * len(image)


@pytest.mark.parametrize("form, root", [("standard", 6.550), ("s+1", 7.450)])
def test_the_expected_gradient_is_zero_at_the_fixed_point_and_linear_around_it(
    form, root, gaussian, cameras
) -> None:
    guidance = sds(gaussian(cond=0.7, null=-0.2, std=0.4), form=form)
    alpha_bar = guidance.prior.schedule.alpha_bar[20:981]
    slope = (1 - alpha_bar) * (alpha_bar * (1 - alpha_bar)).sqrt() / (0.16 * alpha_bar + 1 - alpha_bar)
    assert float(slope.mean()) == pytest.approx(0.275, abs=5e-4)
    torch.manual_seed(0)
    for away in (0.0, 1.0, -2.0):
        image = torch.full((4000, 4, 4, 4), root + away)
        got = gradients(guidance, image, cameras(4000))
        error = got.mean((1, 2, 3)).std() / math.sqrt(4000)
        assert float(got.mean()) == pytest.approx(float(slope.mean()) * away, abs=float(4 * error))
        assert error < 0.005


@pytest.mark.parametrize("t", [100, 500, 900])
@pytest.mark.parametrize("weighting", ["1-alpha_bar", "uniform", "sigma/alpha", "alpha*sigma^2"])
def test_the_fixed_point_does_not_depend_on_level_or_weight(t, weighting, gaussian, cameras) -> None:
    prior = gaussian(cond=0.7, null=-0.2, std=0.4)
    guidance = sds(prior, weighting=weighting, levels=Annealed(level=t / 1000))
    torch.manual_seed(0)
    image = torch.full((500, 4, 4, 4), 6.55)
    got = gradients(guidance, image, cameras(500))
    assert float(got.mean()) == pytest.approx(0.0, abs=float(4 * got.std() / math.sqrt(got.numel())))


@pytest.mark.parametrize("batch", [1, 3])
def test_the_gradient_is_the_weighted_difference_of_each_sample(batch, gaussian, cameras) -> None:
    prior = gaussian(cond=0.7, null=-0.2, std=0.4)
    guidance, image = sds(prior), torch.rand(batch, 4, 4, 4)
    torch.manual_seed(5)
    got = gradients(guidance, image, cameras(batch))
    torch.manual_seed(5)
    noisy = noised(prior.encode(image), guidance.levels, 0, prior.schedule)
    condition = prior.condition(["a cup"] * batch, cameras(batch), None)
    eps = guidance.cfg(prior, noisy.x_t, noisy.t, condition)
    w = (1 - prior.schedule.alpha_bar[noisy.t]).view(-1, 1, 1, 1)
    assert torch.allclose(got, w * (eps - noisy.eps), atol=1e-5)


def test_sigma_over_alpha_is_the_reconstruction_loss(gaussian, cameras) -> None:
    prior = gaussian(cond=0.7, null=-0.2, std=0.4)
    guidance, image = sds(prior, weighting="sigma/alpha"), torch.rand(2, 4, 4, 4)
    torch.manual_seed(5)
    got = gradients(guidance, image, cameras(2))
    torch.manual_seed(5)
    x = prior.encode(image).requires_grad_()
    noisy = noised(x.detach(), guidance.levels, 0, prior.schedule)
    eps = guidance.cfg(prior, noisy.x_t, noisy.t, prior.condition(["a cup"] * 2, cameras(2), None))
    x0 = prior.schedule.x0_from_eps(noisy.x_t, eps, noisy.t).detach()
    (0.5 * (x - x0).square().sum()).backward()
    assert torch.allclose(got, x.grad, rtol=1e-3, atol=1e-4)


def test_the_gradient_is_clipped_element_by_element(gaussian, cameras) -> None:
    prior, image = gaussian(cond=0.7, null=-0.2, std=0.4), torch.rand(2, 4, 4, 4)
    torch.manual_seed(5)
    free = gradients(sds(prior), image, cameras(2))
    torch.manual_seed(5)
    clipped = gradients(sds(prior, grad_clip=0.1), image, cameras(2))
    assert free.abs().max() > 0.2
    assert torch.allclose(clipped, free.clamp(-0.1, 0.1), atol=1e-6)


def test_a_prediction_that_is_not_finite_shows_in_the_loss(gaussian, cameras) -> None:
    guidance = sds(gaussian(cond=math.nan, null=-0.2, std=0.4))
    assert torch.isnan(guidance(torch.rand(1, 4, 4, 4), ["a cup"], cameras(1), None, 7))


def test_the_prior_is_frozen_unsaved_and_comes_along(gaussian, cameras) -> None:
    prior = gaussian(cond=0.7, null=-0.2, std=0.4)
    guidance = sds(prior)
    assert not list(guidance.parameters()) and not guidance.state_dict()
    assert not any(parameter.requires_grad for parameter in prior.parameters())
    guidance.train()
    assert not prior.training
    gradients(guidance, torch.rand(1, 4, 4, 4), cameras(1))
    assert prior.cond.grad is None
    guidance.double()
    assert prior.cond.dtype == prior.schedule.alpha_bar.dtype == torch.float64


def test_an_unknown_weighting_is_refused(gaussian) -> None:
    with pytest.raises(ValueError, match="uniform"):
        sds(gaussian(cond=0.0, null=0.0, std=1.0), weighting="sds")
