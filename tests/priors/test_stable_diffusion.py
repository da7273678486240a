"""Stable Diffusion as published, at reduced width: its pipelines' own answers, in each layout."""

import shutil

import layouts
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from threestudio_like.priors.stable_diffusion import StableDiffusion
from threestudio_like.priors.words import Perpendicular, Words
from threestudio_like.schedule.vp import VP, scaled_linear

TEXT = {"tokenizer": CLIPTokenizer, "text_encoder": CLIPTextModel}
ANGLES = {"form": "{prompt}, {view} view", "front": 45, "back": 45, "overhead": 60}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return layouts.stable_diffusion_folder(tmp_path_factory.mktemp("sd"))


@pytest.fixture
def prior(tmp_path):
    def make(weights, **changes) -> StableDiffusion:
        values = {"size": 16, "text": None, "prediction": "eps", "precision": "float32", "words": None}
        values["residency"] = None
        schedule = VP(betas=scaled_linear(1000, 0.00085, 0.012))
        common = {"weights": str(weights), "version": "2.x", "negative": "", "cache": str(tmp_path / "cache")}
        return StableDiffusion(schedule=schedule, **common, **values | changes)

    return make


def test_the_pipeline_is_told_the_same(prior, folder, views):
    one = prior(folder)
    told = one.condition(["a blue cup"], views(1).camera, None)
    tokenizer, encoder = (kind.from_pretrained(folder / name) for name, kind in TEXT.items())
    rest = dict.fromkeys(("safety_checker", "feature_extractor"))
    pipeline = StableDiffusionPipeline(
        one.vae, encoder, tokenizer, one.unet, layouts.scheduler(), **rest, requires_safety_checker=False
    )
    cond, null = pipeline.encode_prompt("a blue cup", torch.device("cpu"), 1, True, negative_prompt="")
    torch.testing.assert_close(told.tokens, cond)
    torch.testing.assert_close(one.null(told).tokens, null)
    x_t, t = torch.randn(1, 4, 8, 8), torch.tensor([300])
    with torch.no_grad():
        torch.testing.assert_close(one.predict(x_t, t, told), pipeline.unet(x_t, t, cond).sample)


def test_v_is_turned_into_noise(prior, folder, tmp_path, views):
    with pytest.raises(ValueError, match="^prediction: .* predicts eps, not v"):
        prior(folder, prediction="v")
    one = prior(layouts.stable_diffusion_folder(tmp_path / "v", "v_prediction"), prediction="v")
    told, x_t, t = one.condition(["a"], views(1).camera, None), torch.randn(1, 4, 8, 8), torch.tensor([300])
    with torch.no_grad():
        v = one.unet(x_t, t, told.tokens).sample
        torch.testing.assert_close(one.predict(x_t, t, told), one.schedule.eps_from_v(x_t, v, t))


def test_an_original_checkpoint_with_the_text_of_a_folder(prior, folder, tmp_path, views):
    state = layouts.ldm_unet(layouts.unet()) | layouts.ldm_vae(layouts.vae())
    file = layouts.zero123_file(tmp_path / "net.safetensors", state)
    with pytest.raises(ValueError, match="^text: net.safetensors has no tokenizer"):
        prior(file)
    for name in ("tokenizer", "text_encoder"):
        shutil.copytree(folder / name, tmp_path / "text" / name)
    one, other = prior(folder), prior(file, text=str(tmp_path / "text"))
    told, x_t, t = one.condition(["a"], views(1).camera, None), torch.randn(1, 4, 8, 8), torch.tensor([300])
    with torch.no_grad():
        torch.testing.assert_close(one.predict(x_t, t, told), other.predict(x_t, t, told))
    # a product's last bit depends on where its numbers lie in memory; the numbers are the same
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_latents_have_the_published_scale(prior, folder):
    one = prior(folder)
    torch.manual_seed(0)
    x = one.encode(torch.rand(1, 32, 32, 4))
    assert x.shape[1:] == one.shape == (4, 8, 8)
    torch.manual_seed(0)
    sample = one.posterior(torch.rand(1, 32, 32, 4)).sample()
    torch.testing.assert_close(x, 0.18215 * sample)
    image = one.decode(x)
    assert image.shape == (1, 16, 16, 4) and (image[..., 3] == 1).all()


def test_words_reach_the_tokens(prior, folder, views):
    one = prior(folder, words=Words(**ANGLES))
    assert set(one.spoken.prompts.known) == set()
    told = one.condition(["a", "a"], views(2).camera, None)
    assert told.tokens.shape == (2, 12, layouts.TOKEN) and "a, overhead view" in one.spoken.prompts.known


def test_a_half_prior_answers_in_float32(prior, folder, views):
    one = prior(folder, precision="bfloat16")
    told, x_t, t = one.condition(["a"], views(1).camera, None), torch.randn(1, 4, 8, 8), torch.tensor([300])
    with torch.no_grad():
        low, high = one.predict(x_t, t, told), prior(folder).predict(x_t, t, told)
    assert low.dtype == torch.float32 and not torch.equal(low, high)
    torch.testing.assert_close(low, high, rtol=0.1, atol=0.1)


def test_xl_is_told_as_its_pipeline_is(prior, tmp_path, views):
    folder = layouts.xl_folder(tmp_path / "xl")
    one = prior(folder)
    told = one.condition(["a cup"], views(1).camera, None)
    second = {"text_encoder_2": CLIPTextModelWithProjection, "tokenizer_2": CLIPTokenizer}
    text = {name: kind.from_pretrained(folder / name) for name, kind in (TEXT | second).items()}
    pipeline = StableDiffusionXLPipeline(
        vae=one.vae, unet=one.unet, scheduler=layouts.scheduler(), **text, add_watermarker=False
    )
    device = torch.device("cpu")
    tokens, _, pooled, _ = pipeline.encode_prompt("a cup", device=device, do_classifier_free_guidance=False)
    torch.testing.assert_close(told.tokens, tokens)
    times = torch.tensor([[16.0, 16, 0, 0, 16, 16]])
    torch.testing.assert_close(told.vector, torch.cat([pooled, times], 1))
    x_t, t = torch.randn(1, 4, 8, 8), torch.tensor([300])
    extra = {"text_embeds": pooled, "time_ids": times}
    with torch.no_grad():
        theirs = pipeline.unet(x_t, t, tokens, added_cond_kwargs=extra).sample
        torch.testing.assert_close(one.predict(x_t, t, told), theirs)
    assert one.vae.config.scaling_factor == 0.13025 and one.vae.dtype == torch.float32
    with pytest.raises(ValueError, match="^words: Perp-Neg has no form for XL"):
        prior(folder, words=Perpendicular(**ANGLES))
