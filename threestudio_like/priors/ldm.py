"""Original latent-diffusion checkpoints as the networks of diffusers and transformers, name by name.

For each tensor of the network that is to be filled, `*_source` says where in the checkpoint it lies; the
sizes of the network are read from the checkpoint's shapes. Every conversion gives a `Report`: what came from
where, and what was left over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn

State = Mapping[str, Tensor]
UNET, EMA, VAE = "model.diffusion_model.", "model_ema.", "first_stage_model."
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_WORDS = [
    (r"(encoder|decoder)\.conv_norm_out", r"\1.norm_out"),
    (r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)", r"encoder.down.\1.block.\2"),
    (r"encoder\.down_blocks\.(\d+)\.downsamplers\.0\.conv", r"encoder.down.\1.downsample.conv"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
    (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
    (r"conv_shortcut", "nin_shortcut"),
]


class Report(NamedTuple):
    """What a conversion did."""

    taken: dict[str, str]  # name in the network -> name in the checkpoint
    left: list[str]  # names in the checkpoint that no network asked for

    def lines(self) -> list[str]:
        """One for each tensor."""
        return [f"{old} -> {new}" for new, old in self.taken.items()] + [f"{name} -> -" for name in self.left]


def fill(
    module: nn.Module, state: State, source: Callable[[str], str], shaped: Callable[[str, Tensor], Tensor]
) -> dict[str, str]:
    """Every tensor of `module` from the checkpoint; returns where from. A missing one is an error."""
    taken = {name: source(name) for name in module.state_dict()}
    for name, old in taken.items():
        if old not in state:
            raise ValueError(f"weights: the checkpoint has no {old!r} (for {name})")
    found = {name: shaped(name, state[old]) for name, old in taken.items()}
    for name, value in module.state_dict().items():
        if found[name].shape != value.shape:
            was, is_ = list(found[name].shape), list(value.shape)
            raise ValueError(f"weights: {taken[name]!r} is of shape {was}, where {name} takes {is_}")
    module.load_state_dict(found, assign=True)
    return taken


def unet(state: State, ema: bool) -> tuple[Any, dict[str, str]]:
    """The U-Net; with `ema`, its averaged weights where the checkpoint has them."""
    averaged = ema and any(name.startswith(EMA) for name in state)
    with torch.device("meta"):
        made: Any = UNet2DConditionModel(**unet_config(state))
    layers = made.config.layers_per_block
    plain = [not hasattr(block, "attentions") for block in made.up_blocks]

    def source(name: str) -> str:
        old = unet_source(name, layers, plain)
        return EMA + f"diffusion_model.{old}".replace(".", "") if averaged else UNET + old

    return made, fill(made, state, source, lambda name, value: value)


def unet_source(name: str, layers: int, plain: list[bool]) -> str:
    """The original name of a tensor of diffusers' U-Net.

    plain: which of the blocks on the way up have no attention: there the upsampler moves one place down.
    """
    for new, old in ENDS.items():
        if name.startswith(new + "."):
            return old + name[len(new) :]
    found = re.match(
        r"(down|mid|up)_blocks?\.(?:(\d+)\.)?(resnets|attentions|\w+samplers)\.(\d+)\.(.*)", name
    )
    assert found is not None, name
    way, block, part, index, rest = found[1], int(found[2] or 0), found[3], int(found[4]), found[5]
    if part == "resnets":
        word, _, end = rest.rpartition(".")
        rest = f"{RESNET[word]}.{end}"
    if way == "mid":
        return f"middle_block.{2 * index if part == 'resnets' else 1}.{rest}"
    place = block * (layers + 1) + (layers if "samplers" in part else index)
    if part == "downsamplers":
        return f"input_blocks.{place + 1}.0.op.{rest.removeprefix('conv.')}"
    if part == "upsamplers":
        return f"output_blocks.{place}.{1 if plain[block] else 2}.{rest}"
    inner = 0 if part == "resnets" else 1
    return (
        f"input_blocks.{place + 1}.{inner}.{rest}"
        if way == "down"
        else f"output_blocks.{place}.{inner}.{rest}"
    )


def unet_config(state: State) -> dict[str, Any]:
    """Its sizes, by the shapes in the checkpoint.

    How many heads there are no shape tells: 8 in the first generation, 64 channels each where projections are
    linear (the second, and XL).
    """
    shapes = {name[len(UNET) :]: value.shape for name, value in state.items() if name.startswith(UNET)}
    if "input_blocks.0.0.weight" not in shapes:
        raise ValueError(
            f"weights: no {UNET}input_blocks.0.0.weight in it: not a latent-diffusion checkpoint"
        )
    count = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("input_blocks."))
    downs = [i for i in range(count) if f"input_blocks.{i}.0.op.weight" in shapes]
    layers = (downs[0] if downs else count) - 1
    first = [1 + b * (layers + 1) for b in range(len(downs) + 1)]
    widths = [shapes[f"input_blocks.{i}.0.out_layers.3.weight"][0] for i in first]
    depths = [depth(shapes, f"input_blocks.{i}.1") for i in first]
    attended = next(i for i, n in zip(first, depths, strict=True) if n)
    block = f"input_blocks.{attended}.1"
    linear = len(shapes[f"{block}.proj_in.weight"]) == 2
    config = {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "block_out_channels": tuple(widths),
        "layers_per_block": layers,
        "down_block_types": tuple("CrossAttnDownBlock2D" if n else "DownBlock2D" for n in depths),
        "up_block_types": tuple("CrossAttnUpBlock2D" if n else "UpBlock2D" for n in depths[::-1]),
        "transformer_layers_per_block": tuple(n or depth(shapes, "middle_block.1") for n in depths),
        "cross_attention_dim": shapes[f"{block}.transformer_blocks.0.attn2.to_k.weight"][1],
        "attention_head_dim": tuple(width // 64 for width in widths) if linear else 8,
        "use_linear_projection": linear,
    }
    if "label_emb.0.0.weight" in shapes:
        told = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
        config |= {**told, "projection_class_embeddings_input_dim": shapes["label_emb.0.0.weight"][1]}
    return config


def depth(shapes: Mapping[str, torch.Size], place: str) -> int:
    """How many transformer blocks there are at a place."""
    begin = f"{place}.transformer_blocks."
    return 1 + max(
        (int(name[len(begin) :].split(".")[0]) for name in shapes if name.startswith(begin)), default=-1
    )


def vae(state: State) -> tuple[Any, dict[str, str]]:
    """The encoder and decoder of latents."""
    with torch.device("meta"):
        made: Any = AutoencoderKL(**vae_config(state))
    levels = len(made.config.block_out_channels)

    def shaped(name: str, value: Tensor) -> Tensor:
        attention = "attentions" in name and value.ndim == 4
        return value[..., 0, 0] if attention else value  # a 1x1 convolution there, a linear layer here

    return made, fill(made, state, lambda name: VAE + vae_source(name, levels), shaped)


def vae_source(name: str, levels: int) -> str:
    """The original name of a tensor of diffusers' autoencoder; the way up is counted from its other end."""
    up = re.match(r"decoder\.up_blocks\.(\d+)\.(?:resnets\.(\d+)|upsamplers\.0\.conv)(.*)", name)
    if up is not None:
        rest = f"block.{up[2]}" if up[2] is not None else "upsample.conv"
        name = f"decoder.up.{levels - 1 - int(up[1])}.{rest}{up[3]}"
    for new, old in VAE_WORDS:
        name = re.sub(new, old, name)
    return name


def vae_config(state: State) -> dict[str, Any]:
    """Its sizes, by the shapes in the checkpoint."""
    encoder = {n[len(VAE) :]: v.shape for n, v in state.items() if n.startswith(VAE)}
    levels = len({n.split(".")[2] for n in encoder if n.startswith("encoder.down.")})
    layers = len({n.split(".")[4] for n in encoder if n.startswith("encoder.down.0.block.")})
    if not levels or not layers or "decoder.conv_in.weight" not in encoder:
        raise ValueError(f"weights: no {VAE}encoder and decoder in it: not a latent-diffusion checkpoint")
    widths = [encoder[f"encoder.down.{i}.block.0.conv2.weight"][0] for i in range(levels)]
    return {
        "block_out_channels": tuple(widths),
        "layers_per_block": layers,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "latent_channels": encoder["decoder.conv_in.weight"][1],
        "use_quant_conv": "quant_conv.weight" in encoder,  # the third generation has neither
        "use_post_quant_conv": "post_quant_conv.weight" in encoder,
    }
