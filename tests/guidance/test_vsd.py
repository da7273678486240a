import math

import pytest
import torch
from torch import nn

from threestudio_like.guidance.base import Fitting
from threestudio_like.guidance.cfg import CFG
from threestudio_like.guidance.sds import SDS
from threestudio_like.guidance.vsd import VSD
from threestudio_like.priors.base import Learner
from threestudio_like.schedule.levels import Uniform


class Same(Learner):
    """Says what the frozen prior says."""

    def predict(self, x_t, t, condition):
        return self.prior.predict(x_t, t, self.split(condition)[0])


class Shifted(Same):
    """A Gaussian whose mean is learnt: one number, and what each of the camera's numbers adds."""

    def __init__(self, *, prior) -> None:
        super().__init__(prior=prior)
        self.mean = nn.Parameter(torch.zeros(()))
        self.camera = nn.Parameter(torch.zeros(16))

    def predict(self, x_t, t, condition):
        inner, camera = self.split(condition)
        mean = self.mean + camera @ self.camera
        return self.prior.predict(x_t, t, inner._replace(vector=mean[:, None]))


def vsd(prior, learner, *, scale=1.0, dropout=0.0, camera_dropout=0.0) -> VSD:
    return VSD(
        prior=prior,
        cfg=CFG(form="standard", scale=scale),
        levels=Uniform(low=0.02, high=0.98),
        weighting="1-alpha_bar",
        grad_clip=None,
        learner=learner,
        fitting=Fitting(levels=Uniform(low=0.0, high=1.0), dropout=dropout, camera_dropout=camera_dropout),
    )


def gradients(guidance, image, camera) -> torch.Tensor:
    image = image.clone().requires_grad_()
    guidance(image, ["a cup"] * len(image), camera, None, 0).backward()
    return image.grad.permute(0, 3, 1, 2) * len(image)


def test_a_learner_equal_to_the_prior_leaves_nothing_to_do(gaussian, cameras) -> None:
    guidance = vsd(gaussian(cond=0.7, null=-0.2, std=0.4), Same)
    assert torch.equal(gradients(guidance, torch.rand(3, 4, 4, 4), cameras(3)), torch.zeros(3, 4, 4, 4))


def test_a_learner_of_the_render_alone_makes_it_sds(gaussian, cameras) -> None:
    prior, image = gaussian(cond=0.7, null=-0.2, std=0.4), torch.rand(3, 4, 4, 4)

    class Delta(Learner):
        """Knows the picture: eps_phi = (x_t - alpha x) / sigma = eps."""

        def predict(self, x_t, t, condition):
            return self.schedule.eps_from_x0(x_t, self.encode(image), t)

    torch.manual_seed(3)
    ours = gradients(vsd(prior, Delta, scale=7.5), image, cameras(3))
    sds = SDS(
        prior=prior,
        cfg=CFG(form="standard", scale=7.5),
        levels=Uniform(low=0.02, high=0.98),
        weighting="1-alpha_bar",
        grad_clip=None,
    )
    torch.manual_seed(3)
    assert torch.allclose(ours, gradients(sds, image, cameras(3)), atol=1e-4)


def test_its_fixed_point_is_where_the_renders_look_like_the_guided_prior(gaussian, cameras) -> None:
    """With eps_phi the score of N(m, s^2), grad = w sigma alpha (m - m*) / v: no noise, zero at m* of SDS."""
    guidance = vsd(gaussian(cond=0.7, null=-0.2, std=0.4), Shifted, scale=7.5)
    image = torch.full((50, 4, 4, 4), 1.0)
    for mean, sign in ((6.55, 0), (7.0, 1), (6.0, -1)):
        guidance.learner.mean.data.fill_(mean)
        got = gradients(guidance, image, cameras(50))
        assert (got * sign > 0).all() if sign else got.abs().max() < 1e-5


def test_fitting_learns_the_renders_and_their_cameras(gaussian, cameras) -> None:
    guidance = vsd(gaussian(cond=0.7, null=-0.2, std=0.4), Shifted, camera_dropout=0.1)
    optimizer = torch.optim.Adam(guidance.parameters(), lr=0.05)
    camera = cameras(64)
    height = camera.c2w[:, 0, 3].view(-1, 1, 1, 1)  # the pictures depend on where the camera is

    torch.manual_seed(0)
    losses = []
    for step in range(300):
        image = 1.0 + 0.5 * height + 0.4 * torch.randn(64, 4, 4, 4)
        loss = guidance.fit(image, ["a cup"] * 64, camera, None, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) < 0.9 * sum(losses[:3]) / 3 * 20
    learner = guidance.learner
    means = learner.mean + camera.c2w.flatten(1) @ learner.camera
    assert torch.allclose(means, 1 + 0.5 * height.flatten(), atol=0.1)


def test_the_two_losses_move_their_own_side_only(gaussian, cameras) -> None:
    guidance = vsd(gaussian(cond=0.7, null=-0.2, std=0.4), Shifted)
    image = torch.rand(2, 4, 4, 4, requires_grad=True)
    guidance(image, ["a cup"] * 2, cameras(2), None, 0).backward()
    assert image.grad.abs().sum() > 0 and guidance.learner.mean.grad is None
    image.grad = None
    guidance.fit(image, ["a cup"] * 2, cameras(2), None, 0).backward()
    assert image.grad is None and guidance.learner.mean.grad.abs() > 0
    assert guidance.prior.cond.grad is None


def test_only_the_learner_is_saved(gaussian) -> None:
    guidance = vsd(gaussian(cond=0.7, null=-0.2, std=0.4), Shifted)
    assert set(guidance.state_dict()) == {"learner.mean", "learner.camera"}
    assert {name for name, _ in guidance.named_parameters()} == set(guidance.state_dict())
    guidance.double()
    assert guidance.prior.cond.dtype == torch.float64


class Listening(Same):
    """Remembers what it was told."""

    def predict(self, x_t, t, condition):
        self.told = condition
        return super().predict(x_t, t, condition)


def test_dropout_takes_the_camera_or_everything(gaussian, cameras) -> None:
    prior, count = gaussian(cond=0.7, null=-0.2, std=0.4), 4000
    guidance = vsd(prior, Listening, dropout=0.2, camera_dropout=0.1)
    torch.manual_seed(0)
    guidance.fit(torch.rand(count, 4, 4, 4), ["a cup"] * count, cameras(count), None, 0)
    inner, camera = guidance.learner.split(guidance.learner.told)
    silent, blind = inner.vector[:, 0] == -0.2, (camera == 0).all(1)
    assert torch.equal(camera[~blind], cameras(count).c2w.flatten(1)[~blind])
    assert (blind | ~silent).all()
    tolerance = 4 * math.sqrt(0.2 * 0.8 / count)
    assert float(silent.float().mean()) == pytest.approx(0.2, abs=tolerance)
    assert float((blind & ~silent).float().mean()) == pytest.approx(0.1, abs=tolerance)


def test_dropouts_beyond_one_are_refused() -> None:
    with pytest.raises(ValueError, match="shares"):
        Fitting(levels=Uniform(low=0.0, high=1.0), dropout=0.6, camera_dropout=0.6)
