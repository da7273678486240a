"""OpenAI's picture encoder (CLIP, Radford et al. 2021) as transformers', name by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

VISUAL = "cond_stage_model.model.visual."
WORDS = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding": "conv1",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm": "ln_pre",
    "post_layernorm": "ln_post",
    "encoder.layers.": "transformer.resblocks.",
    "layer_norm": "ln_",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn": "attn",
    "visual_projection.weight": "proj",
}
THIRDS = {"q_proj": 0, "k_proj": 1, "v_proj": 2}  # of one matrix in the original


def encoder(state: Mapping[str, Tensor]) -> tuple[Any, dict[str, str]]:
    """The network filled from a checkpoint, and where each tensor came from."""
    with torch.device("meta"):
        made: Any = CLIPVisionModelWithProjection(CLIPVisionConfig(**config(state)))
    taken = {name: VISUAL + source(name) for name in made.state_dict()}
    for name, old in taken.items():
        if old not in state:
            raise ValueError(f"weights: the checkpoint has no {old!r} (for {name})")
    made.load_state_dict({name: shaped(name, state[old]) for name, old in taken.items()}, assign=True)
    embeddings = made.get_submodule("vision_model.embeddings")
    embeddings.position_ids = torch.arange(embeddings.num_positions)[None]  # not saved, so still on meta
    return made, taken


def config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Its sizes, by the shapes in the checkpoint; heads have 64 channels."""
    shapes = {name[len(VISUAL) :]: value.shape for name, value in state.items() if name.startswith(VISUAL)}
    if "conv1.weight" not in shapes:
        raise ValueError(f"weights: no {VISUAL}conv1.weight in it: no picture encoder of CLIP")
    width, _, patch, _ = shapes["conv1.weight"]
    layers = {name.split(".")[2] for name in shapes if name.startswith("transformer.resblocks.")}
    return {
        "hidden_size": width,
        "patch_size": patch,
        "num_attention_heads": width // 64,
        "num_hidden_layers": len(layers),
        "intermediate_size": shapes["transformer.resblocks.0.mlp.c_fc.weight"][0],
        "image_size": patch * round((shapes["positional_embedding"][0] - 1) ** 0.5),
        "projection_dim": shapes["proj"][1],
        "hidden_act": "quick_gelu",
    }


def source(name: str) -> str:
    """The original name of a tensor; those of queries, keys and values are one."""
    name = name.removeprefix("vision_model.")
    for new, old in WORDS.items():
        name = name.replace(new, old)
    for word in THIRDS:
        name = name.replace(f"{word}.", "in_proj_")
    return name


def shaped(name: str, value: Tensor) -> Tensor:
    """A third of the queries, keys and values; the projection the other way round."""
    for word, index in THIRDS.items():
        if f".{word}." in name:
            return value.chunk(3)[index]
    return value.T.contiguous() if name.startswith("visual_projection") else value
