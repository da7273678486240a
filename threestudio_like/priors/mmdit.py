"""Stable Diffusion 3's single file (Esser et al. 2024) as diffusers' networks, name by name.

In it queries, keys and values are one matrix, and the last layers' shift comes before their scale; diffusers
has three, and the scale first. Text encoders in it are left; no such file has a tokenizer.

    python -m threestudio_like.priors.mmdit FILE     # what a conversion of FILE takes from where
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from threestudio_like.priors import checkpoint, ldm
from threestudio_like.priors.published import Precision, find

log = logging.getLogger(__name__)
NETWORK = ldm.UNET
VAE = {"scaling_factor": 1.5305, "shift_factor": 0.0609, "force_upcast": True}  # what no shape tells
HEAD = 64  # channels; told by shapes only where queries have a norm, in 3.5
NEEDED = (
    "x_embedder.proj.weight",
    "joint_blocks.0.x_block.attn.qkv.weight",
    "pos_embed",
    "context_embedder.weight",
    "y_embedder.mlp.0.weight",
    "final_layer.linear.weight",
)
ENDS = {
    "pos_embed.pos_embed": "pos_embed",
    "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "context_embedder": "context_embedder",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "proj_out": "final_layer.linear",
}
BLOCK = {
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
    "attn.to_out.0": "x_block.attn.proj",
    "attn.to_add_out": "context_block.attn.proj",
    "attn.norm_q": "x_block.attn.ln_q",
    "attn.norm_k": "x_block.attn.ln_k",
    "attn.norm_added_q": "context_block.attn.ln_q",
    "attn.norm_added_k": "context_block.attn.ln_k",
    "attn2.to_out.0": "x_block.attn2.proj",
    "attn2.norm_q": "x_block.attn2.ln_q",
    "attn2.norm_k": "x_block.attn2.ln_k",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}
THIRDS = {
    **{
        f"{attention}.to_{letter}": f"x_block.{attention}"
        for attention in ("attn", "attn2")
        for letter in "qkv"
    },
    **{f"attn.add_{letter}_proj": "context_block.attn" for letter in "qkv"},
}


def of_file(path: Path, precision: Precision) -> tuple[Any, Any, ldm.Report]:
    """Transformer and autoencoder, the first in a precision; and what came from where.

    ValueError: a tensor is missing or of another shape; it is named.
    """
    state = checkpoint.tensors(path)
    network, taken = transformer(state, precision)
    vae, of_vae = ldm.vae(state)
    vae.register_to_config(**VAE)
    parts = {"transformer": taken, "vae": of_vae}
    every = {f"{name}.{new}": old for name, found in parts.items() for new, old in found.items()}
    report = ldm.Report(every, sorted(set(state) - set(every.values())))
    log.info("%s: %d tensors converted, %d not needed", path.name, len(every), len(report.left))
    return network, vae, report


def transformer(state: ldm.State, precision: Precision) -> tuple[Any, dict[str, str]]:
    """The transformer, and where each of its tensors came from."""
    from diffusers import SD3Transformer2DModel

    with torch.device("meta"):
        made: Any = SD3Transformer2DModel(**config(state))
    last, dtype = made.config.num_layers - 1, getattr(torch, precision)

    def shaped(name: str, value: Tensor) -> Tensor:
        return piece(name, value.to(dtype), last)

    return made, ldm.fill(made, state, lambda name: NETWORK + source(name), shaped)


def source(name: str) -> str:
    """The original name of a tensor of diffusers' transformer; thirds of one tensor share its name."""
    whole, _, end = name.rpartition(".")
    if name in ENDS:
        return ENDS[name]
    if whole in ENDS:
        return f"{ENDS[whole]}.{end}"
    found = re.fullmatch(r"transformer_blocks\.(\d+)\.(.*)", whole)
    assert found is not None, name
    part = found[2]
    old = f"{THIRDS[part]}.qkv" if part in THIRDS else BLOCK[part]
    return f"joint_blocks.{found[1]}.{old}.{end}"


def piece(name: str, value: Tensor, last: int) -> Tensor:
    """Of a tensor in the file, what diffusers' of this name is; `last` is the number of the last block."""
    part = re.sub(r"^transformer_blocks\.\d+\.", "", name).rpartition(".")[0]
    if part in THIRDS:
        letter = part.removesuffix("_proj")[-1]
        return value.chunk(3)["qkv".index(letter)]
    if part == "norm_out.linear" or name.startswith(f"transformer_blocks.{last}.norm1_context."):
        return torch.cat(value.chunk(2)[::-1])  # scale, shift
    return value


def config(state: ldm.State) -> dict[str, Any]:
    """Its sizes, by the shapes in the file; ValueError if it is none of Stable Diffusion 3."""
    shapes = {name[len(NETWORK) :]: value.shape for name, value in state.items() if name.startswith(NETWORK)}
    for name in NEEDED:
        if name not in shapes:
            raise ValueError(f"weights: no {NETWORK}{name} in it: not a file of Stable Diffusion 3")
    width, channels, patch, _ = shapes["x_embedder.proj.weight"]
    head = shapes.get("joint_blocks.0.x_block.attn.ln_q.weight", (HEAD,))[0]
    return {
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": shapes["final_layer.linear.weight"][0] // patch**2,
        "num_layers": len(blocks(shapes, "attn")),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "caption_projection_dim": shapes["context_embedder.weight"][0],
        "pooled_projection_dim": shapes["y_embedder.mlp.0.weight"][1],
        "pos_embed_max_size": round(shapes["pos_embed"][1] ** 0.5),
        "dual_attention_layers": tuple(blocks(shapes, "attn2")),
        "qk_norm": "rms_norm" if "joint_blocks.0.x_block.attn.ln_q.weight" in shapes else None,
    }


def blocks(shapes: Mapping[str, torch.Size], attention: str) -> list[int]:
    """Numbers of the blocks that have it."""
    ends = f".x_block.{attention}.qkv.weight"
    found = [name for name in shapes if name.startswith("joint_blocks.") and name.endswith(ends)]
    return sorted(int(name.split(".")[1]) for name in found)


if __name__ == "__main__":
    print(*of_file(find(sys.argv[1], "transformer"), "float32")[2].lines(), sep="\n")
