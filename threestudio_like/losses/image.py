"""How far one picture is from another; means, so that picture size does not change a weight."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def masked_mse(
    image: Float[Tensor, "B H W C"], target: Float[Tensor, "B H W C"], mask: Float[Tensor, "B H W 1"]
) -> Float[Tensor, ""]:
    """Mean of (mask * difference)^2 over the whole picture."""
    return ((image - target) * mask).square().mean()


def masked_l1(
    image: Float[Tensor, "B H W C"], target: Float[Tensor, "B H W C"], mask: Float[Tensor, "B H W 1"]
) -> Float[Tensor, ""]:
    """Mean of |mask * difference| over the whole picture."""
    return ((image - target) * mask).abs().mean()


def eroded(mask: Float[Tensor, "B H W 1"], pixels: int) -> Float[Tensor, "B H W 1"]:
    """The mask less a border of `pixels`: colours at a cut-out's edge are mixed with what was behind it."""
    hole = F.max_pool2d(1 - mask.permute(0, 3, 1, 2), 2 * pixels + 1, stride=1, padding=pixels)
    return 1 - hole.permute(0, 2, 3, 1)


def mask_mse(alpha: Float[Tensor, "B H W 1"], mask: Float[Tensor, "B H W 1"]) -> Float[Tensor, ""]:
    """Of silhouettes."""
    return F.mse_loss(alpha, mask)


def mask_bce(alpha: Float[Tensor, "B H W 1"], mask: Float[Tensor, "B H W 1"]) -> Float[Tensor, ""]:
    """Cross-entropy of silhouettes; alpha is kept off 0 and 1, where it has no finite gradient."""
    return F.binary_cross_entropy(alpha.clamp(1e-5, 1 - 1e-5), mask)


def smoothness(image: Float[Tensor, "B H W C"], inside: Float[Tensor, "B H W 1"]) -> Float[Tensor, ""]:
    """Mean squared step between neighbours below and beside, counted where both are inside."""
    rows = (image[:, 1:] - image[:, :-1]).square() * (inside[:, 1:] * inside[:, :-1])
    columns = (image[:, :, 1:] - image[:, :, :-1]).square() * (inside[:, :, 1:] * inside[:, :, :-1])
    return rows.mean() + columns.mean()


def roughness(image: Float[Tensor, "B H W C"]) -> Float[Tensor, ""]:
    """Mean absolute step between neighbours below and beside: half the sum of the two means."""
    rows, columns = image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]
    return (rows.abs().mean() + columns.abs().mean()) / 2


def pearson(
    x: Float[Tensor, "B N"], y: Float[Tensor, "B N"], weights: Float[Tensor, "B N"]
) -> Float[Tensor, " B"]:
    """Weighted correlation, in [-1, 1]; 0 where there is no weight or one of the two is constant."""
    share = weights / weights.sum(-1, keepdim=True).clamp_min(1e-8)
    dx = x - (share * x).sum(-1, keepdim=True)
    dy = y - (share * y).sum(-1, keepdim=True)
    variances = (share * dx * dx).sum(-1) * (share * dy * dy).sum(-1)
    return (share * dx * dy).sum(-1) / torch.sqrt(variances.clamp_min(1e-12))
