"""Published architectures with random numbers in them (`weights=random`): what they cost, without a download.

What they say means nothing; how long it takes, and in how much memory, is as with the published weights. Text
encoders are not made: their embeddings are kept between runs, so they are no part of a step.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from threestudio_like.priors.published import Precision

RANDOM = "random"


def or_random(find: Callable[[str], Any]) -> Callable[[str], Any]:
    """The same search, but for the word that asks for none."""
    return lambda weights: None if weights == RANDOM else find(weights)


def made(kind: Any, settings: Any, precision: Precision) -> Any:
    """A network, frozen; it begins in its precision, as IF's weights would be 16 GiB in float32."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, precision))
    try:
        network = kind(**settings) if isinstance(settings, Mapping) else kind(settings)
    finally:
        torch.set_default_dtype(before)
    return network.requires_grad_(False).eval()


class Invented:
    """Texts to random embeddings, the same for the same text.

    shapes: of `tokens`, and of what else the family has.
    """

    def __init__(self, *, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = dict(shapes)

    def __call__(self, texts: list[str]) -> list[Mapping[str, Tensor]]:
        """Of each text, on the CPU."""
        return [self.of(text) for text in texts]

    def of(self, text: str) -> Mapping[str, Tensor]:
        """Of one text."""
        chance = torch.Generator().manual_seed(zlib.crc32(text.encode()))
        return {name: torch.randn(shape, generator=chance) for name, shape in self.shapes.items()}
