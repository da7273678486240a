"""What embeddings (ours or any other) tell: retrieval, the directions of edits, the agreement of views."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def retrieval(
    asked: Float[Tensor, "N D"], answers: Float[Tensor, "M D"], right: Bool[Tensor, "N M"], first: int
) -> Float[Tensor, " N"]:
    """1 where a right answer is among the `first` nearest by cosine, else 0."""
    cosine = F.normalize(asked, dim=-1) @ F.normalize(answers, dim=-1).T
    nearest = cosine.topk(first, dim=1).indices
    return right.gather(1, nearest).any(1).to(asked.dtype)


def directional_similarity(
    before: Float[Tensor, "B D"],
    after: Float[Tensor, "B D"],
    words_before: Float[Tensor, "B D"],
    words_after: Float[Tensor, "B D"],
) -> Float[Tensor, " B"]:
    """Cosine of the pictures' change and the captions' (Gal et al. 2022, eq. 2); 0 where either is none.

    InstructPix2Pix (Brooks et al. 2023, section 3.1.2) keeps pairs of pictures for which it is high.
    """
    return F.cosine_similarity(after - before, words_after - words_before, dim=-1)


def view_consistency(views: Float[Tensor, "V D"]) -> Float[Tensor, ""]:
    """Mean cosine of all pairs of different views of one object; at least two."""
    assert len(views) > 1, "one view has no other to agree with"
    cosine = F.normalize(views, dim=-1) @ F.normalize(views, dim=-1).T
    apart = ~torch.eye(len(views), dtype=torch.bool, device=views.device)
    return cosine[apart].mean()
