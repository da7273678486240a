"""Names in Stability's single file: our conversion against diffusers' own, of 3 and 3.5; what is refused."""

import layouts
import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_vae_checkpoint,
    convert_sd3_transformer_checkpoint_to_diffusers,
)

from threestudio_like.priors import mmdit

MEDIUM = {"heads": 2, "head": 64}
LARGE = {"heads": 2, "head": 8, "qk_norm": "rms_norm"}  # 3.5
KINDS = {"3": MEDIUM, "3.5": LARGE, "3.5 medium": {**LARGE, "dual_attention_layers": (0,)}}
SIZES = (
    "num_attention_heads",
    "attention_head_dim",
    "dual_attention_layers",
    "qk_norm",
    "pos_embed_max_size",
)
PREFIX = "model.diffusion_model."


def equal(ours, theirs) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("kind", KINDS)
def test_the_transformer_is_what_diffusers_makes_of_it(kind):
    network = layouts.flowing(**KINDS[kind])
    state = layouts.single_3(network)
    theirs = convert_sd3_transformer_checkpoint_to_diffusers(dict(state))
    made, taken = mmdit.transformer(state, "float32")
    assert equal(theirs, network.state_dict()) and equal(dict(made.state_dict()), network.state_dict())
    assert set(taken.values()) == set(state)
    assert {name: made.config[name] for name in SIZES} == {name: network.config[name] for name in SIZES}
    x, told = torch.randn(1, 16, 8, 8), (torch.randn(1, 5, 40), torch.randn(1, 16), torch.tensor([500.0]))
    with torch.no_grad():
        assert torch.equal(made(x, *told).sample, network(x, *told).sample)


def test_the_autoencoder_has_no_quantising_layers():
    network = layouts.randomised(layouts.vae_3())
    state = layouts.ldm_vae(network)
    made, taken = mmdit.ldm.vae(state)
    theirs = convert_ldm_vae_checkpoint(dict(state), {**network.config})
    assert equal(theirs, network.state_dict()) and equal(dict(made.state_dict()), network.state_dict())
    assert made.config.latent_channels == 16 and made.quant_conv is None and set(taken.values()) == set(state)


def test_what_came_from_where_and_what_was_left(tmp_path, caplog):
    text = {"text_encoders.clip_l.transformer.text_model.final_layer_norm.bias": torch.zeros(3)}
    state = layouts.single_3(layouts.flowing(**MEDIUM)) | layouts.ldm_vae(layouts.vae_3()) | text
    with caplog.at_level("INFO"):
        report = mmdit.of_file(layouts.zero123_file(tmp_path / "sd3.safetensors", state), "float32")[2]
    old = PREFIX + "joint_blocks.1.context_block.attn.qkv.bias"
    assert f"{old} -> transformer.transformer_blocks.1.attn.add_k_proj.bias" in report.lines()
    assert report.left == list(text)
    assert f"sd3.safetensors: {len(report.taken)} tensors converted, 1 not needed" in caplog.text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x_embedder.proj.weight", "^weights: no model.diffusion_model.x_embedder.proj.weight in it: not a"),
        (
            "joint_blocks.1.x_block.mlp.fc1.bias",
            r"no .*mlp.fc1.bias' \(for transformer_blocks.1.ff.net.0.proj",
        ),
    ],
)
def test_a_gap_is_named(name, words):
    state = layouts.single_3(layouts.flowing(**MEDIUM))
    del state[PREFIX + name]
    with pytest.raises(ValueError, match=words):
        mmdit.transformer(state, "float32")


def test_another_shape_is_named():
    state = layouts.single_3(layouts.flowing(**MEDIUM))
    state[PREFIX + "t_embedder.mlp.0.bias"] = torch.zeros(7)
    with pytest.raises(
        ValueError, match=r"^weights: '.*t_embedder.mlp.0.bias' is of shape \[7\], where [^\n]*$"
    ):
        mmdit.transformer(state, "float32")
