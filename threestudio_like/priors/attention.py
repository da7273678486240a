"""Attention maps of one pass through a denoiser, given to another (Prompt-to-Prompt, Hertz et al. 2022).

A map says where each place looks: softmax(Q K^T / sqrt(d)). With another's maps a caption puts its own words'
values where the other's words were, so that the two pictures are laid out alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

# which maps: of the caption's words (the papers), of the picture's places (InstructPix2Pix's code), or both
Kinds = Literal["cross", "self", "both"]


class Recorded:
    """diffusers' AttnProcessor for attention without norm, mask or residual; its maps join `maps`."""

    def __init__(self, maps: list[Tensor]) -> None:
        self.maps = maps

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        """What the places are told."""
        assert attn.group_norm is None and not attn.residual_connection, "not a transformer's attention"
        asked = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            attn.head_to_batch_dim(project(x))
            for project, x in ((attn.to_q, hidden_states), (attn.to_k, asked), (attn.to_v, asked))
        )
        maps = self.exchanged(attn.get_attention_scores(query, key))
        told = attn.batch_to_head_dim(torch.bmm(maps, value))
        return attn.to_out[1](attn.to_out[0](told)) / attn.rescale_output_factor

    def exchanged(self, own: Tensor) -> Tensor:
        """The maps to attend by: its own, which are kept."""
        self.maps.append(own)
        return own


class Injected(Recorded):
    """The same with the maps of another pass, taken in their order."""

    def exchanged(self, own: Tensor) -> Tensor:
        """The other's."""
        other = self.maps.pop(0)
        assert other.shape == own.shape, "maps of another network, or of another batch"
        return other


@contextmanager
def recorded(denoiser: nn.Module, kinds: Kinds) -> Iterator[list[Tensor]]:
    """The maps of the passes within it, in the order of their layers."""
    maps: list[Tensor] = []
    with processed(denoiser, kinds, Recorded(maps)):
        yield maps


@contextmanager
def injected(denoiser: nn.Module, kinds: Kinds, maps: list[Tensor]) -> Iterator[None]:
    """Passes within it attend by these maps; as many as were recorded."""
    left = list(maps)
    with processed(denoiser, kinds, Injected(left)):
        yield
    assert not left, f"{len(left)} maps were not taken"


@contextmanager
def processed(denoiser: nn.Module, kinds: Kinds, processor: Recorded) -> Iterator[None]:
    """`processor` in the place of each attention's own."""
    found = attentions(denoiser, kinds)
    before = [each.processor for each in found]
    for each in found:
        each.processor = processor
    try:
        yield
    finally:
        for each, own in zip(found, before, strict=True):
            each.processor = own


def attentions(denoiser: nn.Module, kinds: Kinds) -> list[Any]:
    """Of these kinds; a network that has none is a ValueError."""
    wanted = {"cross": (True,), "self": (False,), "both": (True, False)}[kinds]
    modules: list[Any] = [each for each in denoiser.modules() if isinstance(each, Attention)]
    found = [each for each in modules if each.is_cross_attention in wanted]
    if not any(each.is_cross_attention for each in modules):
        raise ValueError("prior: its network reads no words, so there are no maps of words to share")
    return found
