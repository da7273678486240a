"""`weights=random`: networks of the given sizes that answer and pass gradients, with nothing read or kept."""

import layouts
import pytest
import torch

from threestudio_like.priors import sizes, untrained
from threestudio_like.priors.deepfloyd import DeepFloyd
from threestudio_like.priors.latent_zero123 import LatentZero123
from threestudio_like.priors.stable_diffusion import StableDiffusion
from threestudio_like.priors.words import Perpendicular, Words
from threestudio_like.schedule.vp import VP, cosine, scaled_linear

ANGLES = {"form": "{prompt}, {view} view", "front": 45, "back": 45, "overhead": 60}
SPOKEN = {"negative": "", "cache": "/nowhere/to/be/written", "weights": "random", "residency": None}


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """The published architectures at reduced width, and no hub to look in."""
    vae, xl = layouts.vae().config, layouts.xl_unet().config
    monkeypatch.setattr(sizes, "VAE", {name: vae[name] for name in sizes.VAE})
    for version in ("1.x", "2.x"):
        unet = layouts.unet().config
        small = {name: unet[name] for name in (*WIDTHS, "sample_size", "cross_attention_dim")}
        monkeypatch.setitem(sizes.VERSIONS, version, small)
    monkeypatch.setitem(sizes.VERSIONS, "xl", {name: xl[name] for name in (*WIDTHS, *sizes.XL)})
    monkeypatch.setattr(sizes, "ZERO123", {**sizes.VERSIONS["1.x"], "in_channels": 8})
    monkeypatch.setattr(sizes, "CLIP", {name: getattr(layouts.clip().config, name) for name in sizes.CLIP})
    whole, widths = sizes.deepfloyd, {"block_out_channels": (32, 32), "layers_per_block": 1}
    heads = {"attention_head_dim": 16, "addition_embed_type_num_heads": 2}
    small = {"sample_size": 8, "encoder_hid_dim": layouts.TOKEN, **widths, **heads}
    monkeypatch.setattr(sizes, "deepfloyd", lambda: whole(**small))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("the hub is asked"))


WIDTHS = ("block_out_channels", "layers_per_block", "down_block_types", "up_block_types")


def stable_diffusion(version: str = "2.x", precision: str = "float32", **changes) -> StableDiffusion:
    schedule = VP(betas=scaled_linear(1000, 0.00085, 0.012))
    values = {"size": 16, "text": None, "prediction": "eps", "words": Words(**ANGLES)}
    return StableDiffusion(
        schedule=schedule, version=version, precision=precision, **SPOKEN, **values | changes
    )


def deepfloyd(precision: str = "float32") -> DeepFloyd:
    schedule, words = VP(betas=cosine(1000, 0.008)), Perpendicular(**ANGLES)
    text = {"text": None, "text_encoder": "whole"}
    return DeepFloyd(schedule=schedule, precision=precision, words=words, **text, **SPOKEN)


def zero123(precision: str = "float32") -> LatentZero123:
    values = {"size": 16, "ema": True, "fourth": "polar", "condition_scale": 1.0, "precision": precision}
    values["residency"] = None
    schedule = VP(betas=scaled_linear(1000, 0.00085, 0.012))
    return LatentZero123(schedule=schedule, weights="random", **values)


@pytest.mark.parametrize(
    "make",
    [
        stable_diffusion,
        lambda: stable_diffusion("1.x"),
        lambda: stable_diffusion("xl"),
        lambda: stable_diffusion(precision="bfloat16"),
        deepfloyd,
        lambda: deepfloyd("float16"),
        zero123,
        lambda: zero123("float16"),
    ],
)
def test_it_is_asked_as_any_prior(make, views):
    """Its answer depends on what it is told, and pictures get gradients; no weight learns."""
    prior, image = make(), torch.rand(1, 16, 16, 4, requires_grad=True)
    assert prior.unet.dtype == getattr(torch, prior.precision) and torch.get_default_dtype() == torch.float32
    x = prior.encode(image)
    x.float().square().sum().backward()
    assert image.grad is not None and torch.isfinite(image.grad).all() and image.grad.abs().sum() > 0
    told = prior.condition(["a cup"], views(1).camera, views(1))
    with torch.no_grad():
        said, other = (prior.predict(x, torch.tensor([300]), c) for c in (told, prior.null(told)))
    assert said.shape == x.shape and torch.isfinite(said).all() and not torch.equal(said, other)
    assert not any(value.requires_grad for value in prior.parameters())


def test_a_text_is_the_same_each_time_and_no_other():
    invented = untrained.Invented(shapes={"tokens": (3, 4), "vector": (5,)})
    one, again, other = invented(["a", "a", "b"])
    assert one["tokens"].shape == (3, 4) and one["vector"].shape == (5,)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["tokens"], other["tokens"])


def test_a_run_looks_for_no_weights_then(tmp_path):
    (tmp_path / "random").touch()
    for prior in (StableDiffusion, DeepFloyd, LatentZero123):
        assert prior.published("random") is None
        with pytest.raises(ValueError, match="^weights: .*/random should end in"):
            prior.published(str(tmp_path / "random"))


@pytest.mark.slow
@pytest.mark.parametrize(("version", "width"), [("1.x", 768), ("2.x", 1024), ("xl", 2048)])
def test_embeddings_have_the_published_shapes(monkeypatch, version, width):
    monkeypatch.undo()
    with torch.device("meta"):
        prior = stable_diffusion(version)
    embedded = prior.spoken.prompts([""])[0]
    assert embedded["tokens"].shape == (77, width)
    assert version != "xl" or embedded["vector"].shape == (1280 + 6,)
