"""Exact priors keep the protocol, and sampling gives their own distributions: pictures', and views'."""

import pytest
import torch

from threestudio_like.ops.camera import orbit
from threestudio_like.priors.base import Condition, Prior
from threestudio_like.priors.oracle import Oracle
from threestudio_like.priors.pose import relative_pose
from threestudio_like.records import Camera, View
from threestudio_like.schedule.samplers import ancestral, heun
from threestudio_like.schedule.vp import VP, cosine


def test_samples_have_its_mean_and_spread():
    torch.manual_seed(0)
    prior = Oracle(schedule=VP(betas=cosine(100, 0.008)), size=16, mean=0.7, null_mean=-0.2, std=0.4)
    ones = torch.ones(8)
    camera = orbit(azimuth=ones, elevation=ones, distance=ones, fov_y=ones, height=16, width=16)
    condition = prior.condition(["anything"] * 8, camera, None)
    for told, mean in ((condition, 0.7), (prior.null(condition), -0.2)):
        levels, noise = list(range(99, -1, -1)), torch.randn(8, *prior.shape)

        def eps(x_t, t, told=told):
            return prior.predict(x_t, t, told)

        x = ancestral(eps, noise, levels, prior.schedule, variance="large", clip=None)
        assert abs(x.mean().item() - mean) < 0.02
        assert abs(x.std().item() - 0.4) < 0.02


def test_pictures_go_in_and_out():
    prior = Oracle(schedule=VP(betas=cosine(100, 0.008)), size=4, mean=0.0, null_mean=0.0, std=1.0)
    picture = torch.rand(2, 4, 4, 4)
    torch.testing.assert_close(prior.decode(prior.encode(picture)), picture)
    large = picture.repeat_interleave(3, dim=1).repeat_interleave(3, dim=2)
    torch.testing.assert_close(prior.decode(prior.encode(large)), picture)


PIXELS, NOISE = (
    torch.linspace(-1.2, 1.2, 7, dtype=torch.float64),
    0.1,
)  # azimuths that a view has; of references
ANY = {0: 0.5, 1: 0.4, 2: 0.2}  # deviation of each wave around the object
SYMMETRIC = {0: 0.5}


def waves(turn, spreads):
    """[.., pixel, wave]: what a view turned by so much shows of a ring's colours, waves of unit variance."""
    place = torch.as_tensor(turn, dtype=torch.float64)[..., None] + PIXELS
    pairs = [(s * (k * place).cos(), s * (k * place).sin()) for k, s in spreads.items()]
    return torch.stack([wave for pair in pairs for wave in pair], dim=-1)


def seen(azimuths, elevation=0.3) -> Camera:
    azimuth = torch.tensor(azimuths, dtype=torch.float32)
    ones = torch.ones(len(azimuths))
    return orbit(
        azimuth=azimuth, elevation=elevation * ones, distance=1.5 * ones, fov_y=ones, height=1, width=7
    )


class Ring(Prior):
    """p(view | reference and its pose, as Zero-1-to-3 writes it) of linear Gaussian views: exact."""

    def __init__(self, spreads):
        super().__init__()
        self.schedule, self.shape, self.spreads = VP(betas=cosine(200, 0.008)), (1, 1, 7), spreads

    def condition(self, prompts, camera, reference):
        pose = relative_pose(reference.camera, camera).double()
        told = reference.rgb[:, 0, :, 0].expand(len(pose), -1)
        return Condition(vector=torch.cat([pose, told], dim=1))

    def predict(self, x_t, t, condition):
        pose, told = condition.vector.split([4, 7], dim=1)
        target, source = waves(torch.atan2(pose[:, 1], pose[:, 2]), self.spreads), waves(0.0, self.spreads)
        gain = target @ source.T @ (source @ source.T + NOISE**2 * torch.eye(7)).inverse()
        spread = target @ target.mT - gain @ source @ target.mT
        alpha, sigma = (c[..., 0] for c in self.schedule.coefficients(t, x_t))
        away = x_t[:, 0, 0, :, None] - alpha * gain @ told[..., None]
        return (sigma * torch.linalg.solve(alpha**2 * spread + sigma**2 * torch.eye(7), away)).view_as(x_t)


def views(prior, azimuths, reference, noise):
    """Samples, one for each azimuth, [view, pixel]."""
    told = prior.condition([""] * len(azimuths), seen(azimuths), reference)
    levels = list(range(199, -1, -1))
    start = noise.view(-1, 1, 1, 7).expand(len(azimuths), -1, -1, -1)
    x = heun(lambda x_t, t: prior.predict(x_t, t, told), start, levels, prior.schedule, clip=None)
    return x[:, 0, 0]


def reference(azimuth) -> View:
    torch.manual_seed(3)
    rgb = torch.randn(1, 1, 7, 3, dtype=torch.float64)
    return View(seen([azimuth]), rgb, torch.ones(1, 1, 7, 1))


def test_views_have_the_mean_that_the_reference_tells():
    """Of the waves that made it (the other form of Bayes), seen from the azimuths themselves."""
    azimuths, known = [0.4, 1.4, 3.0, -0.7, 6.1], reference(0.9)
    source = waves(0.9, ANY)
    precision = torch.eye(6) + source.T @ source / NOISE**2
    believed = torch.linalg.solve(precision, source.T @ known.rgb[0, 0, :, 0] / NOISE**2)
    found = views(Ring(ANY), azimuths, known, torch.zeros(7, dtype=torch.float64))
    torch.testing.assert_close(found, waves(azimuths, ANY) @ believed, atol=2e-3, rtol=0)


def test_views_of_what_is_symmetric_about_z_do_not_depend_on_the_azimuth():
    azimuths, noise = [0.0, 0.8, 2.5, 4.0], torch.linspace(-1, 1, 7, dtype=torch.float64)
    for spreads, most in ((SYMMETRIC, 1e-6), (ANY, 3.0)):
        found = views(Ring(spreads), azimuths, reference(0.3), noise)
        changed = (found - found[0]).abs().max().item()
        assert changed < most and (changed > 0.1) == (spreads is ANY)


def test_no_view_is_known_better_than_the_reference_s_own():
    """The variance of samples, by unit noises one by one: least without a turn, and rising with it."""
    turns = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    units = torch.cat([torch.zeros(1, 7), torch.eye(7)]).double()
    azimuths = [0.7 + turn for turn in turns]
    ends = views(Ring(ANY), 8 * azimuths, reference(0.7), units.repeat_interleave(7, 0)).view(8, 7, 7)
    variance = (ends[1:] - ends[0]).square().sum((0, 2))
    source = waves(0.7, ANY)
    left = (torch.eye(6) + source.T @ source / NOISE**2).inverse()
    exact = [torch.trace(w @ left @ w.T).item() for w in waves(azimuths, ANY)]
    assert (variance.diff() > 0).all()
    assert variance.tolist() == pytest.approx(exact, rel=0.05)
