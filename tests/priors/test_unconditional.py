"""A prior that is told nothing: any condition is the same, and each kind of prediction comes out as eps."""

import pytest
import torch

from threestudio_like.guidance.cfg import CFG
from threestudio_like.priors.base import Condition
from threestudio_like.priors.unconditional import Unconditional
from threestudio_like.priors.weights import save
from threestudio_like.schedule.vp import VP, cosine


def made(denoiser, prediction: str = "eps", weights: str | None = None) -> Unconditional:
    schedule = VP(betas=cosine(100, 0.008))
    return Unconditional(
        schedule=schedule, size=16, denoiser=denoiser, prediction=prediction, weights=weights
    )


def test_guidance_changes_nothing(small_denoiser, views):
    prior = made(small_denoiser(0, None)).eval()
    condition = prior.condition(["cup", "jug"], views(2).camera, None)
    x_t, t = torch.randn(2, *prior.shape), torch.tensor([10, 90])
    with torch.no_grad():
        plain = prior.predict(x_t, t, condition)
        guided = CFG(form="standard", scale=7.0)(prior, x_t, t, condition)
    torch.testing.assert_close(plain, guided, rtol=1e-2, atol=1e-2)  # bfloat16 in another batch
    assert prior.train_condition(condition, torch.zeros(2)) is condition


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_predictions(small_denoiser, prediction):
    """A network that always says zero means another noise by each of them."""
    prior = made(small_denoiser(0, None), prediction)
    prior.denoiser.forward = lambda x_t, t, condition: torch.zeros_like(x_t)
    x_t, t = torch.randn(2, *prior.shape), torch.tensor([20, 60])
    sigma = prior.schedule.coefficients(t, x_t)[1]
    meant = {"eps": 0 * x_t, "v": sigma * x_t, "x0": x_t / sigma}[prediction]
    torch.testing.assert_close(prior.predict(x_t, t, Condition()), meant)


def test_weights_come_back(small_denoiser, tmp_path):
    first = made(small_denoiser(0, None))
    save(first, tmp_path / "weights", {})
    torch.manual_seed(1)
    again = made(small_denoiser(0, None), weights=str(tmp_path / "weights.safetensors"))
    torch.testing.assert_close(
        again.denoiser.tail[0].weight, first.denoiser.tail[0].weight, rtol=1e-3, atol=1e-4
    )
