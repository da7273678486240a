"""What all distillations rest on: the noise, the weights, the loss whose gradient is given, the fitting."""

import pytest
import torch
from torch import nn

from threestudio_like.guidance.base import WEIGHTINGS, Fitting, Guidance, noised
from threestudio_like.guidance.cfg import CFG
from threestudio_like.priors.base import Learner
from threestudio_like.schedule.anneal import linear
from threestudio_like.schedule.levels import Annealed, Uniform


def guidance(prior, *, weighting="uniform", grad_clip=None) -> Guidance:
    return Guidance(
        prior=prior,
        cfg=CFG(form="standard", scale=1.0),
        levels=Uniform(low=0.02, high=0.98),
        weighting=weighting,
        grad_clip=grad_clip,
    )


@pytest.fixture
def prior(gaussian):
    return gaussian(cond=0.7, null=-0.2, std=0.4)


@pytest.mark.parametrize(
    ("weighting", "at_quarter"),  # alpha_bar = 1/4: alpha = 1/2, sigma^2 = 3/4
    [("1-alpha_bar", 0.75), ("uniform", 1.0), ("sigma/alpha", 3**0.5), ("alpha*sigma^2", 0.375)],
)
def test_weights_are_their_formulas(weighting, at_quarter):
    assert float(WEIGHTINGS[weighting](torch.tensor(0.25))) == pytest.approx(at_quarter)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_the_gradient_is_the_weighted_difference_over_b_and_the_value_half_its_square(prior, weighting):
    torch.manual_seed(0)
    x, difference = torch.randn(3, 4, 4, 4, requires_grad=True), torch.randn(3, 4, 4, 4, requires_grad=True)
    t = torch.tensor([20, 500, 980])
    loss = guidance(prior, weighting=weighting).distilled(x, t, difference, 0)
    loss.backward()
    grad = WEIGHTINGS[weighting](prior.schedule.alpha_bar[t]).view(-1, 1, 1, 1) * difference.detach()
    assert torch.allclose(x.grad, grad / 3, rtol=1e-3, atol=1e-5)
    assert loss.item() == pytest.approx(grad.square().sum().item() / 6, rel=1e-4)
    assert difference.grad is None  # a target, whatever it hangs on


def test_the_bound_of_the_gradient_follows_its_schedule(prior):
    torch.manual_seed(0)
    bounded = guidance(prior, grad_clip=linear(start=2.0, end=0.5, begin=0, until=100))
    difference = 3 * torch.randn(2, 4, 4, 4)
    for step, bound in ((0, 2.0), (50, 1.25), (100, 0.5)):
        x = torch.zeros(2, 4, 4, 4, requires_grad=True)
        bounded.distilled(x, torch.tensor([100, 900]), difference, step).backward()
        assert torch.allclose(x.grad * 2, difference.clamp(-bound, bound), atol=1e-6)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_one_number_that_is_not_finite_shows_in_the_loss_whatever_the_bound(prior, broken):
    difference = torch.zeros(2, 4, 4, 4)
    difference[1, 2, 3, 0] = broken
    for clip in (1.0, None):
        loss = guidance(prior, grad_clip=clip).distilled(
            torch.zeros(2, 4, 4, 4), torch.tensor([1, 2]), difference, 9
        )
        assert not torch.isfinite(loss)


def test_noised_is_the_forward_process(prior):
    """x_t has mean alpha x and deviation sigma, and is made of the very noise that is returned."""
    torch.manual_seed(0)
    x, schedule = torch.full((2000, 4, 4, 4), 3.0), prior.schedule
    t, eps, x_t = noised(x, Annealed(level=0.3), 0, schedule)
    assert (t == 300).all()
    alpha, sigma = schedule.alpha_bar[300].sqrt(), (1 - schedule.alpha_bar[300]).sqrt()
    assert torch.allclose(x_t, alpha * x + sigma * eps, atol=1e-5)
    assert float(x_t.mean()) == pytest.approx(float(3 * alpha), abs=0.015)
    assert float(x_t.std()) == pytest.approx(float(sigma), rel=0.01)


def test_each_picture_has_a_level_and_noise_of_its_own(prior):
    torch.manual_seed(0)
    t, eps, _ = noised(torch.zeros(50, 4, 4, 4), Uniform(low=0.0, high=1.0), 0, prior.schedule)
    assert len(t.unique()) > 40 and len(eps[:, 0, 0, 0].unique()) == 50


class Constant(Learner):
    """Says the same number always: its expected loss is known."""

    def __init__(self, *, prior) -> None:
        super().__init__(prior=prior)
        self.said = nn.Parameter(torch.tensor(0.5))

    def predict(self, x_t, t, condition):
        return self.said.expand_as(x_t)


def test_fitting_is_the_mean_square_against_the_noise(prior, cameras):
    """E|c - eps|^2 = c^2 + 1 with slope 2 c, and a gradient for the learner alone."""
    torch.manual_seed(0)
    learner, x = Constant(prior=prior), torch.randn(2000, 4, 4, 4, requires_grad=True)
    fitting = Fitting(levels=Uniform(low=0.0, high=1.0), dropout=0.1, camera_dropout=0.1)
    loss = fitting.loss(learner, x, learner.condition(["a cup"] * 2000, cameras(2000), None), 0)
    loss.backward()
    assert loss.item() == pytest.approx(1.25, abs=0.02)
    assert float(learner.said.grad) == pytest.approx(1.0, abs=0.03)
    assert x.grad is None and prior.cond.grad is None


@pytest.mark.parametrize(("dropout", "camera_dropout"), [(-0.1, 0.0), (0.0, -0.1), (0.7, 0.4)])
def test_shares_that_are_none_are_refused(dropout, camera_dropout):
    with pytest.raises(ValueError, match="shares of one whole"):
        Fitting(levels=Annealed(level=0.5), dropout=dropout, camera_dropout=camera_dropout)


def test_an_unknown_weighting_is_refused_with_the_choices(prior):
    with pytest.raises(ValueError, match="no 'sds'; choose one of 1-alpha_bar, uniform"):
        guidance(prior, weighting="sds")
