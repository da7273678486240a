"""DeepFloyd IF as published, at reduced width: its pipeline's own answers; the noise is the first half."""

import shutil

import layouts
import pytest
import torch
from diffusers import IFPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from threestudio_like.priors import sizes
from threestudio_like.priors.deepfloyd import DeepFloyd
from threestudio_like.schedule.vp import VP, cosine


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return layouts.deepfloyd_folder(tmp_path_factory.mktemp("if"))


@pytest.fixture
def prior(tmp_path, folder):
    def make(**changes) -> DeepFloyd:
        values = {"weights": str(folder), "text": None, "precision": "float32", "text_encoder": "whole"}
        values |= {"words": None, "residency": None}
        cache = str(tmp_path / "cache")
        return DeepFloyd(schedule=VP(betas=cosine(1000, 0.008)), negative="", cache=cache, **values | changes)

    return make


def test_the_pipeline_is_told_the_same_and_says_the_noise_first(prior, folder, views):
    one = prior()
    told = one.condition([" A blue cup"], views(1).camera, None)
    names = ("safety_checker", "feature_extractor", "watermarker", "scheduler")
    pipeline = IFPipeline(
        T5Tokenizer.from_pretrained(folder / "tokenizer"),
        T5EncoderModel.from_pretrained(folder / "text_encoder", dtype=torch.bfloat16),
        one.unet,
        **dict.fromkeys(names),
        requires_safety_checker=False,
    )
    with torch.no_grad():
        cond, null = pipeline.encode_prompt(" A blue cup", negative_prompt="", clean_caption=False)
    torch.testing.assert_close(told.tokens, cond.float())
    torch.testing.assert_close(one.null(told).tokens, null.float())
    x_t, t = torch.randn(2, 3, 8, 8), torch.tensor([300, 900])
    both = told._replace(tokens=told.tokens.expand(2, -1, -1))
    with torch.no_grad():
        raw = one.unet(x_t, t, both.tokens).sample
        assert raw.shape[1] == 6
        torch.testing.assert_close(one.predict(x_t, t, both), raw[:, :3])


def test_pictures(prior):
    one, image = prior(), torch.rand(1, 16, 16, 4)
    x = one.encode(image)
    assert x.shape[1:] == one.shape == (3, 8, 8)
    small = torch.nn.functional.avg_pool2d(image[..., :3].permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    torch.testing.assert_close(one.decode(x)[..., :3], small)


@pytest.mark.parametrize(("sizes_beside", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_the_unets_own_file_says_what_the_folder_says(
    prior, folder, tmp_path, views, monkeypatch, caplog, sizes_beside, precision
):
    """By config.json beside it, or as the published network, here a reduced one."""
    small = layouts.deepfloyd_sizes()
    monkeypatch.setattr(sizes, "deepfloyd", lambda: {} if sizes_beside else small)
    name = "diffusion_pytorch_model.safetensors"
    file = folder / "unet" / name if sizes_beside else shutil.copy(folder / "unet" / name, tmp_path)
    with caplog.at_level("INFO"):
        other = prior(weights=str(file), text=str(folder), precision=precision)
    whole = len(other.unet.state_dict())
    where = "config.json" if sizes_beside else "the published sizes"
    assert f"{name}: {whole} of {whole} tensors are those of {where}" in caplog.text
    one = prior(precision=precision)
    x_t, t = torch.randn(1, 3, 8, 8), torch.tensor([300])
    with torch.no_grad():
        said = [it.predict(x_t, t, it.condition(["a"], views(1).camera, None)) for it in (one, other)]
    assert torch.equal(*said) and other.unet.dtype == getattr(torch, precision)
    assert not any(value.requires_grad for value in other.parameters()) and not other.unet.training


def test_what_its_file_lacks_is_one_line(prior, folder, tmp_path, monkeypatch):
    small = layouts.deepfloyd_sizes()
    monkeypatch.setattr(sizes, "deepfloyd", lambda: small)
    state = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    whole, bias = len(state), state.pop("conv_in.bias")
    wrong = {
        "and it has no 'conv_in.bias'": state,
        r"and 'conv_in.bias' is of shape \[3\], not \[32\]": {**state, "conv_in.bias": torch.zeros(3)},
        "but it has 'another.bias' as well": {**state, "conv_in.bias": bias, "another.bias": bias + 1},
    }
    for words, tensors in wrong.items():
        save_file(tensors, tmp_path / "unet.safetensors")
        count = whole - ("another" not in words)
        sizes_ = r"the published sizes \(no config.json is beside it\)"
        named = f"^weights: unet.safetensors: {count} of {whole} tensors are those of {sizes_}, {words}$"
        with pytest.raises(ValueError, match=named):
            prior(weights=str(tmp_path / "unet.safetensors"), text=str(folder))
    with pytest.raises(ValueError, match="^text: unet.safetensors has no tokenizer; set text=FOLDER"):
        prior(weights=str(tmp_path / "unet.safetensors"))
    for settings in ("{", "[]", '{"layers_per_block": "a"}'):
        (tmp_path / "config.json").write_text(settings)
        with pytest.raises(ValueError, match=r"^weights: .*/config.json is not whole: [^\n]*$"):
            prior(weights=str(tmp_path / "unet.safetensors"), text=str(folder))
    (tmp_path / "unet.safetensors").write_bytes(b"no tensors")
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"^weights: .* is not a safetensors file: [^\n]*$"):
        prior(weights=str(tmp_path / "unet.safetensors"), text=str(folder))


@pytest.mark.slow
def test_the_published_sizes():
    t5 = {"vocab_size": 32128, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
    with torch.device("meta"):
        unet = UNet2DConditionModel(**sizes.deepfloyd())
        encoder = T5EncoderModel(T5Config(**t5, feed_forward_proj="gated-gelu", tie_word_embeddings=False))
    assert len(unet.state_dict()) == 775 and sum(p.numel() for p in unet.parameters()) == 4_304_695_110
    assert sum(p.numel() for p in encoder.parameters()) == 4_762_310_656
