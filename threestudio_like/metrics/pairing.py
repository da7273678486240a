"""Which generated pairs of pictures are kept (InstructPix2Pix, Brooks et al. 2023, section 3.1.2).

By an embedding of pictures and words: each picture is like its caption, the two are like each other, and what
changed between them is what changed between the captions. Of several tries the best are kept.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from threestudio_like.metrics.similarity import directional_similarity


class Limits(NamedTuple):
    """Least cosines (picture and caption; picture and picture; direction); how many tries at most."""

    text: float
    image: float
    direction: float
    most: int


class Likeness(NamedTuple):
    """Cosines; text: the lesser of the two pictures'."""

    text: Float[Tensor, "*n"]
    image: Float[Tensor, "*n"]
    direction: Float[Tensor, "*n"]


def likeness(
    before: Float[Tensor, "B D"],
    after: Float[Tensor, "B D"],
    words_before: Float[Tensor, "B D"],
    words_after: Float[Tensor, "B D"],
) -> Likeness:
    """Of pairs, by their embeddings."""
    text = torch.minimum(
        F.cosine_similarity(before, words_before, dim=-1), F.cosine_similarity(after, words_after, dim=-1)
    )
    direction = directional_similarity(before, after, words_before, words_after)
    return Likeness(text, F.cosine_similarity(before, after, dim=-1), direction)


def kept(found: Likeness, limits: Limits) -> Bool[Tensor, "K B"]:
    """Of K tries (first axis) at each of B pairs: within the limits, and the best by direction."""
    within = (
        (found.text >= limits.text) & (found.image >= limits.image) & (found.direction >= limits.direction)
    )
    rated = torch.where(within, found.direction, -torch.inf)
    rank = rated.argsort(dim=0, descending=True, stable=True).argsort(dim=0, stable=True)
    return within & (rank < limits.most)
