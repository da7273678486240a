"""The door of the small priors: sizes, scales, and eps from v."""

import torch

from threestudio_like.priors.base import Condition
from threestudio_like.priors.pixels import Pixels
from threestudio_like.schedule.vp import VP, cosine


def prior(denoiser) -> Pixels:
    return Pixels(schedule=VP(betas=cosine(100, 0.008)), size=16, denoiser=denoiser)


def test_pictures_in_and_out(small_denoiser):
    own, picture = prior(small_denoiser(0, None)), torch.rand(2, 16, 16, 4)
    torch.testing.assert_close(own.decode(own.encode(picture)), picture)
    assert own.encode(torch.ones(1, 16, 16, 4)).mean() == 1 == -own.encode(torch.zeros(1, 16, 16, 4)).mean()
    large = picture.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    torch.testing.assert_close(own.decode(own.encode(large)), picture)
    assert own.encode(torch.rand(1, 10, 10, 4)).shape == (1, 4, 16, 16)


def test_encoding_has_gradients(small_denoiser):
    picture = torch.rand(1, 40, 40, 4, requires_grad=True)
    prior(small_denoiser(0, None)).encode(picture).sum().backward()
    assert picture.grad.abs().min() > 0


def test_the_right_v_gives_the_right_eps(small_denoiser):
    own = prior(small_denoiser(0, None))
    x, eps, t = torch.randn(3, 4, 16, 16), torch.randn(3, 4, 16, 16), torch.tensor([1, 50, 98])
    own.denoiser = torch.nn.Module()
    own.denoiser.forward = lambda x_t, t, condition: own.schedule.v(x, eps, t)
    torch.testing.assert_close(
        own.predict(own.schedule.noised(x, eps, t), t, Condition()), eps, rtol=1e-4, atol=1e-4
    )
