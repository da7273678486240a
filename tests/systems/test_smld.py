"""SMLD: its objectives against closed forms, its pictures, and a mixture that it learns."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from threestudio_like.data.toy import Toy
from threestudio_like.priors.base import Condition
from threestudio_like.schedule.oracle import gaussian_eps

TOY = "priors@system.prior=toy"
FLOORS = {"denoising": 0.3379, "sliced": -0.1621, "plain_sliced": -0.1621, "exact": -0.1621}
STD = 0.25


@pytest.fixture
def plane_system(small_system):
    """(objective, overrides) -> SMLD in the plane."""

    def build(objective: str, *overrides: str):
        small = ["prior.size=1", "prior.denoiser.width=32", "prior.denoiser.depth=2"]
        return small_system("smld", f"objective={objective}", *small, *overrides, groups=[TOY])

    return build


def batch(count: int, step: int = 0, name: str = "mixture"):
    toy = Toy(name=name, batch_size=count, validation=count, seed=0)
    return toy.example(step, count, np.random.default_rng(step))


@pytest.mark.parametrize("objective", list(FLOORS))
def test_floors(plane_system, objective):
    """A perfect network of N(0, 1/4^2) has the losses of closed forms, on the ladder from 1 to 0.01."""
    system = plane_system(objective, "prior.ladder.sigmas.start=1.0", "prior.ladder.sigmas.end=0.01")
    prior = system.prior
    prior.denoiser.forward = lambda x_t, t, condition: gaussian_eps(
        x_t, t, prior.schedule, torch.zeros(2, 1, 1), STD
    )
    torch.manual_seed(0)
    prior.encode = lambda image: STD * torch.randn(len(image), 2, 1, 1)
    found = [system.compute(batch(4000))["score"].item() for _ in range(10)]
    assert np.mean(found) == pytest.approx(FLOORS[objective], abs=4 * np.std(found) / 10**0.5 + 1e-3)
    assert np.std(found) < 0.05


def test_denoising_is_half_of_what_ddpm_minimises(plane_system):
    """sigma^2 |s + z / sigma|^2 / 2 = |eps - z|^2 / 2: on the same noise, level by level."""
    system, points = plane_system("denoising"), batch(64)
    torch.manual_seed(3)
    loss = system.compute(points)["score"]
    prior, x = system.prior, system.prior.encode(points.target.rgba)
    torch.manual_seed(3)
    t = system.rules.levels(0, len(x), prior.schedule.num_steps)
    z = torch.randn(x.shape)
    eps = prior.predict(prior.schedule.noised(x, z, t), t, Condition())
    torch.testing.assert_close(loss, (eps - z).square().mean() / 2, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("objective", list(FLOORS))
def test_each_objective_learns_the_mixture(plane_system, fitted, objective):
    """After some hundred steps the score points from the middle of each mode's slope to its mean."""
    system = plane_system(objective, "optimization.learning_rates.prior=4e-3")
    losses = fitted(system, lambda step: batch(256, step), 300)
    curve = [each["score"] for each in losses]
    assert np.mean(curve[-30:]) < np.mean(curve[:10]) - 0.05
    prior = system.prior
    around = torch.tensor([[0.5, 0.75], [0.75, 0.5], [0.5, 0.25], [0.25, 0.5]]).view(4, 2, 1, 1)
    score = prior.score(around, torch.full((4,), 5)).view(4, 2)
    inward = ((0.5 - around.view(4, 2)) * score).sum(-1)
    assert (inward > 0).all()


def test_exact_is_for_few_dimensions(small_system):
    with pytest.raises(Exception, match="objective: exact takes a backward pass for each of 1024"):
        small_system("smld", "objective=exact")


def test_min_snr_is_not_of_this_method(small_system):
    with pytest.raises(Exception, match="training.gamma"):
        small_system("smld", "training.gamma=5.0")


def test_the_log_says_where_the_ladder_should_begin(plane_system, caplog):
    """The largest distance of the held-out points, those of all batches together."""
    system = plane_system("denoising", "prior.ladder.sigmas.start=7.0")
    held_out = [batch(20), batch(20, step=1)]
    points = torch.cat([each.target.rgba[:, 0, 0, :2] * 2 - 1 for each in held_out])
    apart = max((one - other).norm().item() for one in points for other in points)
    system._trainer = SimpleNamespace(val_dataloaders=held_out)
    with caplog.at_level(logging.INFO, "systems.smld"):
        system.on_train_start()
    assert caplog.messages == [f"the ladder begins at 7; two of the data are up to {apart:.3g} apart"]


@pytest.mark.parametrize("objective", ["denoising", "sliced", "plain_sliced"])
def test_pictures_of_shapes(small_system, examples, objective):
    """Every objective that pictures allow has gradients, and the grid is there."""
    system, given = (
        small_system("smld", f"objective={objective}", "evaluation.sampler.count=2"),
        examples(1)[0],
    )
    loss = system.compute(given)["score"]
    loss.backward()
    assert all(
        p.grad is not None and p.grad.isfinite().all() for p in system.prior.denoiser.unet.parameters()
    )
    with torch.no_grad():
        assert system.pictures(given)["samples"].shape == (2 * 16, 4 * 16, 3)
        scores = system.score(given)
    assert set(scores) == {"score"} and np.isfinite(scores["score"])


@pytest.mark.parametrize("sampler", ["annealed_langevin", "langevin", "ddim", "heun"])
def test_every_sampler_takes_the_network(small_system, sampler):
    small = ["prior.size=1", "prior.denoiser.width=8"]
    groups = [TOY, f"schedule@system.evaluation.sampler={sampler}"]
    system = small_system("smld", *small, groups=groups)
    with torch.no_grad():
        x = system.sample(Condition(), torch.randn(5, 2, 1, 1))
    assert x.shape == (5, 2, 1, 1) and x.isfinite().all()


def test_picture_of_the_plane(plane_system):
    system = plane_system("denoising", "evaluation.sampler.count=1")
    with torch.no_grad():
        assert system.pictures(batch(50))["plane"].shape == (256, 4 * 256, 3)
