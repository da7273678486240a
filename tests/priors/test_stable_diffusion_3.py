"""Stable Diffusion 3 at reduced width: its pipeline's own words, and the noise that its paths imply."""

import shutil
from pathlib import Path

import hydra
import layouts
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
from torch import nn
from transformers import CLIPTextModelWithProjection, CLIPTokenizer, T5EncoderModel, T5Tokenizer

from threestudio_like.priors import mmdit
from threestudio_like.priors.stable_diffusion_3 import LENGTH, StableDiffusion3
from threestudio_like.priors.words import Perpendicular, Words
from threestudio_like.schedule.vp import VP, rectified

CONFIGS = Path(__file__).parents[2] / "configs"
KINDS = {
    "tokenizer": CLIPTokenizer,
    "text_encoder": CLIPTextModelWithProjection,
    "tokenizer_2": CLIPTokenizer,
    "text_encoder_2": CLIPTextModelWithProjection,
    "tokenizer_3": T5Tokenizer,
    "text_encoder_3": T5EncoderModel,
}
ANGLES = {"form": "{prompt}, {view} view", "front": 45, "back": 45, "overhead": 60}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return layouts.stable_diffusion_3_folder(tmp_path_factory.mktemp("sd3"))


@pytest.fixture
def prior(tmp_path, folder):
    def make(**changes) -> StableDiffusion3:
        values = {"size": 16, "precision": "float32", "text_encoder": "whole", "words": None}
        values["residency"] = None
        common = {"weights": str(folder), "text": None, "negative": "", "cache": str(tmp_path / "cache")}
        return StableDiffusion3(schedule=VP(betas=rectified(1000, 3.0)), **common | values | changes)

    return make


@pytest.mark.parametrize("t5", ["whole", None])
def test_the_pipeline_is_told_the_same(prior, folder, views, t5):
    one = prior(text_encoder=t5)
    told = one.condition(["a blue cup"], views(1).camera, None)
    text = {name: kind.from_pretrained(folder / name) for name, kind in KINDS.items()}
    if t5 is None:
        text |= {"tokenizer_3": None, "text_encoder_3": None}
    pipeline = StableDiffusion3Pipeline(
        transformer=one.unet, vae=one.vae, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), **text
    )
    cond, null, pooled, none = pipeline.encode_prompt("a blue cup", None, None, device=torch.device("cpu"))
    close = {"rtol": 0.02, "atol": 0.02} if t5 else {"rtol": 1e-5, "atol": 1e-5}  # T5 reads in bfloat16
    torch.testing.assert_close(told.tokens, cond.float(), **close)
    torch.testing.assert_close(told.vector, pooled)
    torch.testing.assert_close(one.null(told).tokens, null.float(), **close)
    torch.testing.assert_close(one.null(told).vector, none)
    assert told.tokens.shape == (1, 12 + LENGTH, 40)
    assert (told.tokens[:, 12:] == 0).all() == (t5 is None)


def test_the_network_is_asked_on_its_path(prior, views):
    one = prior(text_encoder=None)
    told, t = one.condition(["a"] * 2, views(2).camera, None), torch.tensor([100, 700])
    x, eps = torch.randn(2, 2, 16, 8, 8).unbind()
    u = (t + 0.5) / 1000
    s = (3 * u / (1 + 2 * u))[:, None, None, None]
    z = (1 - s) * x + s * eps
    v = one.unet(z, told.tokens, told.vector, 1000 * s.flatten()).sample
    found = one.predict(one.schedule.noised(x, eps, t), t, told)
    torch.testing.assert_close(found, z + (1 - s) * v, rtol=1e-3, atol=1e-3)


def test_a_network_that_knows_the_path_gives_the_noise(prior, views, monkeypatch):
    one = prior(text_encoder=None)
    told, t = one.condition(["a"] * 3, views(3).camera, None), torch.tensor([1, 500, 999])
    x, eps = torch.randn(2, 3, 16, 8, 8).unbind()
    monkeypatch.setattr(one.unet, "forward", lambda **asked: (eps - x,))
    found = one.predict(one.schedule.noised(x, eps, t), t, told)
    torch.testing.assert_close(found, eps, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_single_file_says_what_the_folder_says(prior, tmp_path, views, precision):
    network = {"heads": 2, "head": 64}  # which no shape tells
    folder = layouts.stable_diffusion_3_folder(tmp_path / "sd3", **network)
    state = layouts.single_3(layouts.flowing(**network)) | layouts.ldm_vae(layouts.vae_3())
    file = layouts.zero123_file(tmp_path / "sd3_medium.safetensors", state)
    one = prior(weights=str(folder), text_encoder=None, precision=precision)
    other = prior(weights=str(file), text=str(folder), text_encoder=None, precision=precision)
    assert dict(one.vae.config).items() >= mmdit.VAE.items() <= dict(other.vae.config).items()
    image, x_t, t = torch.rand(1, 16, 16, 4), torch.randn(1, 16, 8, 8), torch.tensor([300])
    with torch.no_grad():
        said = [it.predict(x_t, t, it.condition(["a"], views(1).camera, None)) for it in (one, other)]
        assert said[0].abs().sum() > 0
        torch.testing.assert_close(*said)
        torch.testing.assert_close(one.posterior(image).mean, other.posterior(image).mean)
        torch.testing.assert_close(one.decode(x_t), other.decode(x_t))
    # a product's last bit depends on where its numbers lie in memory; the numbers are the same
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert {value.device.type for value in other.state_dict().values()} == {"cpu"}


def test_latents_are_moved_and_scaled(prior):
    one = prior(text_encoder=None)
    image = torch.rand(1, 16, 16, 4)
    torch.manual_seed(0)
    x = one.encode(image)
    torch.manual_seed(0)
    sample = one.posterior(image).sample()
    assert x.shape[1:] == one.shape == (16, 8, 8)
    torch.testing.assert_close(x, 1.5305 * (sample - 0.0609))
    theirs = (one.vae.decode(sample).sample / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    torch.testing.assert_close(one.decode(x)[..., :3], theirs, rtol=1e-4, atol=1e-4)


def test_it_guides_from_yaml(folder, tmp_path, views):
    small = {"weights": folder, "precision": "float32", "text_encoder": "null", "size": 16, "cache": tmp_path}
    parts = ["+guidance@guide=sds", "+priors@guide.prior=stable_diffusion_3"]
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose(overrides=[*parts, *(f"guide.prior.{name}={v}" for name, v in small.items())])
    guide = hydra.utils.instantiate(config.guide, _convert_="all")
    pixels = nn.Parameter(torch.rand(2, 16, 16, 4))
    guide(pixels, ["a cup"] * 2, views(2).camera, None, 0).backward()
    assert torch.isfinite(pixels.grad).all() and pixels.grad[..., :3].abs().sum() > 0


def test_what_it_cannot_take_is_said(prior, folder, tmp_path):
    with pytest.raises(ValueError, match="^words: Perp-Neg"):
        prior(words=Perpendicular(**ANGLES))
    shutil.copytree(folder / "vae", tmp_path / "half" / "vae")
    with pytest.raises(ValueError, match=r"half has neither transformer/config.json nor a checkpoint$"):
        prior(weights=str(tmp_path / "half"))
    (tmp_path / "net.safetensors").touch()
    with pytest.raises(
        ValueError, match="^text: net.safetensors has no tokenizer; set text=FOLDER, or a name"
    ):
        prior(weights=str(tmp_path / "net.safetensors"))
    for name in ("tokenizer", "tokenizer_2", "text_encoder"):
        shutil.copytree(folder / name, tmp_path / "text" / name)
    with pytest.raises(
        ValueError, match="^text: .*/text has no tokenizer_3, text_encoder_2, text_encoder_3;"
    ):
        prior(weights=str(folder), text=str(tmp_path / "text"))
    with pytest.raises(ValueError, match="^text: no file or folder"):
        prior(weights=str(folder), text="./nowhere")
    assert prior(words=Words(**ANGLES)) is not None
