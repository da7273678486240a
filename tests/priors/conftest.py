"""Untrained priors of the smallest size, and random views to tell them about."""

import math

import pytest
import torch

from threestudio_like.data.cameras import Pose as Place
from threestudio_like.ops.camera import orbit
from threestudio_like.priors.instructpix2pix import InstructPix2Pix
from threestudio_like.priors.lift import Lift
from threestudio_like.priors.pose import Pose
from threestudio_like.priors.text import Text
from threestudio_like.priors.text_to_image import TextToImage
from threestudio_like.priors.unet import Denoiser
from threestudio_like.priors.zero123 import Zero123
from threestudio_like.records import View
from threestudio_like.schedule.vp import VP, cosine


def denoiser(image_channels: int, token_channels: int | None) -> Denoiser:
    return Denoiser(
        channels=4,
        image_channels=image_channels,
        token_channels=token_channels,
        widths=[16, 16],
        blocks=1,
        head_channels=8,
        groups=8,
        tail_channels=4,
    )


def lift() -> Lift:
    return Lift(
        channels=4,
        radius=0.8,
        width=8,
        groups=4,
        features=4,
        depths=4,
        samples=4,
        hidden=8,
        out_channels=8,
        vector_channels=64,
    )


@pytest.fixture
def small_denoiser():
    torch.manual_seed(0)
    return denoiser


@pytest.fixture
def zero123():
    """Makes one; `lifted` says whether with geometry."""

    def make(lifted: bool = True, weights: str | None = None) -> Zero123:
        torch.manual_seed(0)
        return Zero123(
            schedule=VP(betas=cosine(100, 0.008)),
            size=16,
            denoiser=denoiser(16 + 8 * lifted, None),
            prediction="v",
            pose=Pose(hidden=8, out_channels=64),
            lift=lift() if lifted else None,
            dropout=0.05,
            weights=weights,
        ).eval()

    return make


@pytest.fixture
def text_to_image():
    """Makes one."""

    def make(weights: str | None = None) -> TextToImage:
        torch.manual_seed(0)
        return TextToImage(
            schedule=VP(betas=cosine(100, 0.008)),
            size=16,
            denoiser=denoiser(0, 12),
            prediction="v",
            text=Text(buckets=64, channels=12, length=4, heads=2),
            dropout=0.1,
            weights=weights,
        ).eval()

    return make


@pytest.fixture
def instructpix2pix():
    """Makes one, of the text prior's sizes."""

    def make(begin: str | None = None, weights: str | None = None) -> InstructPix2Pix:
        torch.manual_seed(1)
        return InstructPix2Pix(
            schedule=VP(betas=cosine(100, 0.008)),
            size=16,
            denoiser=denoiser(16, 12),
            prediction="v",
            text=Text(buckets=64, channels=12, length=4, heads=2),
            dropout=0.05,
            begin=begin,
            weights=weights,
        ).eval()

    return make


@pytest.fixture
def views():
    """Makes random pictures with random cameras."""

    def make(count: int) -> View:
        camera = orbit(
            azimuth=6 * torch.rand(count),
            elevation=torch.rand(count),
            distance=1.4 + 0.5 * torch.rand(count),
            fov_y=torch.full((count,), math.radians(49.134)),
            height=32,
            width=32,
        )
        return View(camera, torch.rand(count, 32, 32, 3), torch.rand(count, 32, 32, 1))

    return make


@pytest.fixture
def prior(monkeypatch) -> TextToImage:
    """A text prior of 8 pixels, in float32 everywhere, for what learns beside it."""
    monkeypatch.setattr("threestudio_like.priors.unet.multiplies_bfloat16", lambda device: False)
    torch.manual_seed(0)
    denoiser = Denoiser(
        channels=4,
        image_channels=0,
        token_channels=8,
        widths=[8, 16],
        blocks=1,
        head_channels=8,
        groups=4,
        tail_channels=4,
    )
    prior = TextToImage(
        schedule=VP(betas=cosine(100, 0.008)),
        size=8,
        denoiser=denoiser,
        prediction="v",
        text=Text(buckets=64, channels=8, length=4, heads=2),
        dropout=0.1,
        weights=None,
    )
    return prior.eval()  # attention takes another path in training, equal but for rounding


@pytest.fixture
def reads(text_to_image, views):
    """A text prior reads by this encoder, and tells words from none."""

    def check(text):
        prior = text_to_image()
        told = TextToImage(
            schedule=prior.schedule,
            size=16,
            denoiser=prior.denoiser,
            prediction="v",
            text=text,
            dropout=0.1,
            weights=None,
        )
        with torch.no_grad():
            condition = told.condition(["a cup", "a blue cup"], views(2).camera, None)
            x_t, t = torch.randn(2, *told.shape), torch.tensor([50, 50])
            assert told.predict(x_t, t, condition).shape == x_t.shape
            assert (condition.tokens[0] - told.null(condition).tokens[0]).abs().max() > 1e-3

    return check


@pytest.fixture
def disc():
    """(side) -> a view of a disc of noise."""

    def seen(side: int) -> View:
        y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
        alpha = (x**2 + y**2 < 0.5).float()[None, ..., None]
        rgb = torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(1))
        return View(Place(40.0, 25.0, 1.6, 49.0).camera(side), rgb, alpha)

    return seen
