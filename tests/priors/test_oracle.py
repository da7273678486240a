"""The exact prior keeps the protocol, and sampling it gives its own distribution."""

import torch

from threestudio_like.ops.camera import orbit
from threestudio_like.priors.oracle import Oracle
from threestudio_like.schedule.samplers import ancestral
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
