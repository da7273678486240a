"""Symmetric InfoNCE (van den Oord et al. 2018; CLIP, Radford et al. 2021): each is to find its own."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def info_nce(
    one: Float[Tensor, "B D"],
    other: Float[Tensor, "B D"],
    scale: Float[Tensor, ""],
    same: Bool[Tensor, "B B"],
) -> Float[Tensor, ""]:
    """Mean cross-entropy of the softmax of scale <one_i, other_j>, over j and over i; rows are of length 1.

    same: which pairs belong together, the diagonal among them; a row that has several is to find them alike.
    """
    logits, target = scale * one @ other.T, same.to(one.dtype)
    rows = F.cross_entropy(logits, target / target.sum(dim=1, keepdim=True))
    columns = F.cross_entropy(logits.T, target.T / target.T.sum(dim=1, keepdim=True))
    return (rows + columns) / 2
