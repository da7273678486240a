"""Trains an embedding of pictures and words (CLIP, Radford et al. 2021) on pictures of named objects.

Symmetric InfoNCE of pictures with their captions, and of two views of the same objects with each other.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from systems.learn import Learn
from threestudio_like.loggers.images import column, row
from threestudio_like.losses.contrastive import info_nce
from threestudio_like.metrics.similarity import retrieval
from threestudio_like.priors.embedding import Embedding
from threestudio_like.records import Example

FIRST = 5  # of top-5 accuracy, and of the sheet's answers
ASKED = 6  # rows of the sheet


class EmbeddingTraining(Learn):
    """Pictures and captions in, an embedding of both out."""

    losses: ClassVar[tuple[str, ...]] = ("words", "views")
    prior: Embedding
    averaged: Embedding

    def compute(self, batch: Example) -> dict[str, Float[Tensor, ""]]:
        """Each picture is to find its words, and another view of its object."""
        assert batch.reference is not None
        prior, alike = self.prior, same(batch.prompts).to(self.device)
        count = len(batch.prompts)
        both = prior.pictures(torch.cat([batch.target.rgba, batch.reference.rgba]))
        seen, other = both[:count], both[count:]
        words = prior.words(batch.prompts)
        told = [info_nce(pictures, words, prior.scale, alike) for pictures in (seen, other)]
        losses = {"words": torch.stack(told).mean()}
        if self.due("views", batch.step):
            losses["views"] = info_nce(seen, other, prior.scale, alike)
        return losses

    def score(self, batch: Example) -> dict[str, float]:
        """Retrieval within one batch of held-out examples, beside what guessing gives."""
        assert batch.reference is not None
        right = same(batch.prompts).to(self.device)
        seen, other = (self.averaged.pictures(view.rgba) for view in (batch.target, batch.reference))
        words = self.averaged.words(batch.prompts)
        values = {"of": torch.tensor(float(len(right))), "guessing_top1": right.float().mean()}
        for first in (1, FIRST):
            first = min(first, len(right))
            values |= {
                f"picture_to_words_top{first}": retrieval(seen, words, right, first),
                f"words_to_picture_top{first}": retrieval(words, seen, right, first),
                f"view_to_view_top{first}": retrieval(seen, other, right, first),
            }
        return {name: float(value.mean()) for name, value in values.items()}

    def pictures(self, batch: Example) -> dict[str, Float[Tensor, "H W 3"]]:
        """Rows: the picture that a caption belongs to, then those that are nearest to its words."""
        near = self.averaged.words(batch.prompts) @ self.averaged.pictures(batch.target.rgba).T
        shown = batch.target.rgba[..., :3]
        asked = range(min(ASKED, len(shown)))
        found = near.topk(min(FIRST, len(shown)), dim=1).indices
        return {"retrieved": column([row([shown[i], *shown[found[i]]]) for i in asked])}


def same(prompts: list[str]) -> Bool[Tensor, "B B"]:
    """Which examples have equal captions."""
    numbers = torch.tensor([prompts.index(prompt) for prompt in prompts])
    return numbers[:, None] == numbers[None, :]
