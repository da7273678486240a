"""Names of the original code: our conversion against diffusers' own, and at the published sizes."""

import layouts
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

from threestudio_like.priors import ldm, sizes

UNTOLD = ("attention_head_dim", "transformer_layers_per_block", "sample_size")  # as given, or not in shapes


def equal(ours, theirs) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("linear", [False, True])
def test_the_unet_is_what_diffusers_makes_of_it(linear):
    heads = {"use_linear_projection": True, "attention_head_dim": (1, 1, 1)} if linear else {}
    widths = {"block_out_channels": (64, 64, 64)} if linear else {}
    network = layouts.unet(in_channels=8, **heads, **widths)
    state = layouts.ldm_unet(network)
    theirs = convert_ldm_unet_checkpoint(dict(state), {"layers_per_block": 1})
    made, taken = ldm.unet(state, ema=True)
    assert equal(theirs, network.state_dict()) and equal(dict(made.state_dict()), network.state_dict())
    assert set(taken.values()) == set(state)
    x, t, tokens = torch.randn(1, 8, 8, 8), torch.tensor([500]), torch.randn(1, 1, layouts.TOKEN)
    with torch.no_grad():
        torch.testing.assert_close(made(x, t, tokens).sample, network(x, t, tokens).sample, rtol=0, atol=0)


def test_xls_second_condition_is_what_diffusers_makes_of_it():
    network = layouts.randomised(layouts.xl_unet())
    state = layouts.ldm_unet(network)
    told = {"layers_per_block": 1, "class_embed_type": None, "addition_embed_type": "text_time"}
    theirs = convert_ldm_unet_checkpoint(dict(state), told)
    made, _ = ldm.unet(state, ema=True)
    assert any(name.startswith("add_embedding") for name in theirs)
    assert equal(theirs, network.state_dict()) and equal(dict(made.state_dict()), network.state_dict())


def test_the_autoencoder_is_what_diffusers_makes_of_it():
    network = layouts.randomised(layouts.vae())
    state = layouts.ldm_vae(network)
    theirs = convert_ldm_vae_checkpoint(dict(state), {**network.config})
    made, taken = ldm.vae(state)
    assert equal(theirs, network.state_dict()) and equal(dict(made.state_dict()), network.state_dict())
    assert set(taken.values()) == set(state)
    x = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(made(x).sample, network(x).sample)


@pytest.mark.parametrize(
    ("published", "keys", "parameters"),
    [
        (sizes.ZERO123, 686, 859_532_484),  # zero123: 859.53 M by its log
        pytest.param(sizes.SECOND, 686, 865_910_724, marks=pytest.mark.slow),  # 866 M
        pytest.param(sizes.XL, 1680, 2_567_463_684, marks=pytest.mark.slow),
    ],
    ids=["zero123", "sd21", "sdxl"],
)
def test_published_sizes_are_read_from_shapes_alone(published, keys, parameters):
    with torch.device("meta"):
        network = UNet2DConditionModel(**published)
        made, taken = ldm.unet(layouts.ldm_unet(network), ema=False)
    assert len(taken) == keys and sum(value.numel() for value in made.parameters()) == parameters
    told = [name for name in sizes.XL if name not in UNTOLD]
    for name in told:
        assert made.config[name] == network.config[name], name
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    assert {name: value.shape for name, value in made.state_dict().items()} == shapes
    counts = [module.heads for module in network.modules() if hasattr(module, "heads")]
    assert [module.heads for module in made.modules() if hasattr(module, "heads")] == counts


def test_the_published_autoencoder_and_some_names():
    with torch.device("meta"):
        network = AutoencoderKL(**sizes.VAE)
        made, taken = ldm.vae(layouts.ldm_vae(network))
    assert len(taken) == 248 and sum(value.numel() for value in made.parameters()) == 83_653_863
    assert (
        taken["decoder.up_blocks.0.resnets.2.norm1.bias"]
        == "first_stage_model.decoder.up.3.block.2.norm1.bias"
    )
    plain = [True, False, False, False]
    assert (
        ldm.unet_source("up_blocks.0.upsamplers.0.conv.weight", 2, plain) == "output_blocks.2.1.conv.weight"
    )
    assert (
        ldm.unet_source("up_blocks.1.upsamplers.0.conv.weight", 2, plain) == "output_blocks.5.2.conv.weight"
    )
    assert ldm.unet_source("mid_block.resnets.1.conv1.bias", 2, plain) == "middle_block.2.in_layers.2.bias"


def test_a_gap_is_named():
    state = layouts.ldm_unet(layouts.unet())
    del state["model.diffusion_model.middle_block.0.in_layers.2.bias"]
    with pytest.raises(ValueError, match=r"no 'model\.diffusion_model\.middle_block\.0\.in_layers\.2\.bias'"):
        ldm.unet(state, ema=False)
    with pytest.raises(ValueError, match="not a latent-diffusion checkpoint"):
        ldm.unet({}, ema=False)
