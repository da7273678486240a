"""DDPM, with text and without: samples, pictures, every prediction, every sampler."""

import pytest
import torch

from threestudio_like.priors.base import Condition
from threestudio_like.schedule.prediction import min_snr

UNCONDITIONAL = "priors@system.prior=unconditional"
SAMPLERS = ["ddim", "ancestral", "euler_ancestral", "heun", "annealed_langevin"]


def test_samples_follow_the_prompt(small_system, examples):
    system, batch = small_system("ddpm"), examples(1)[0]
    noise = torch.randn(1, *system.prior.shape).expand(4, -1, -1, -1)
    with torch.no_grad():
        batch = batch._replace(prompts=["cup", "cup", "tree", ""])
        x = system.sample(system.told(system.averaged, batch), noise)
    assert x.abs().max() <= 1
    assert (x[0] - x[2]).abs().max() > 1e-3


def test_pictures(small_system, examples):
    system = small_system("ddpm")
    with torch.no_grad():
        pictures = system.pictures(examples(1)[0])
    assert pictures["samples"].shape == (2 * 16, 4 * 16, 3)


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
@pytest.mark.parametrize("gamma", ["null", "5.0"])
def test_a_perfect_network_has_no_loss(small_system, examples, prediction, gamma):
    """One that says what is asked of it, whatever that is and however it is weighed."""
    settings = [f"prior.prediction={prediction}", f"training.gamma={gamma}"]
    system, batch = small_system("ddpm", *settings, groups=[UNCONDITIONAL]), examples(1)[0]
    prior = system.prior
    x = prior.encode(batch.target.rgba)

    def perfect(x_t, t, condition):
        eps = prior.schedule.eps_from_x0(x_t, x, t)
        return {"eps": eps, "v": prior.schedule.v(x, eps, t), "x0": x}[prediction]

    prior.denoiser.forward = perfect
    assert system.compute(batch)["denoise"].item() < 1e-6
    seen = []
    prior.denoiser.forward = lambda x_t, t, condition: seen.append(t) or 1 + perfect(x_t, t, condition)
    loss = system.compute(batch)["denoise"].item()
    weights = torch.ones(1) if gamma == "null" else min_snr(prediction, seen[0], prior.schedule, float(gamma))
    assert loss == pytest.approx(weights.mean().item(), rel=1e-3)  # all errors are 1


@pytest.mark.parametrize(
    ("schedule", "sampler"),
    [("vp", sampler) for sampler in SAMPLERS] + [("vp_linear", "ddim"), ("vp_scaled_linear", "heun")],
)
def test_samplers_and_schedules(small_system, schedule, sampler):
    """A perfect network of Gaussian pixels makes Gaussian pixels, by every way down every chain."""
    groups = [UNCONDITIONAL, f"schedule@system.evaluation.sampler={sampler}"]
    system = small_system("ddpm", groups=[*groups, f"schedule@system.prior.schedule={schedule}"])
    prior = system.averaged
    system.evaluation = system.evaluation._replace(steps=90)  # which does not divide 1000
    mean, deviation = 0.2, 0.3

    def perfect(x_t, t, condition):
        alpha, sigma = prior.schedule.coefficients(t, x_t)
        return sigma * (x_t - alpha * mean) / (alpha**2 * deviation**2 + sigma**2)

    prior.predict = perfect
    x = system.sample(Condition(), torch.randn(2, *prior.shape))
    assert x.mean().item() == pytest.approx(mean, abs=0.03)
    assert x.std().item() == pytest.approx(deviation, abs=0.04)  # few steps of "small" keep too little
