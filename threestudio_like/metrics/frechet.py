"""How far apart two sets of pictures are: the Frechet distance between Gaussians fitted to their features.

d^2 = |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) (Dowson and Landau 1982). The encoder, `edges96`, is fixed and
has learnt nothing: colours on a grid, and how strong edges are. Its distances compare with each other only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

COLOURS, EDGES = 4, 2  # cells a side of the grids
OCTAVES = (1, 2)  # pixels a side that are averaged before edges are looked for


def frechet(one: Float[Tensor, "N D"], other: Float[Tensor, "M D"]) -> Float[Tensor, ""]:
    """d^2 of two sets of features. It grows as sets get smaller: compare sets of one size."""
    if min(len(one), len(other)) < 2:
        raise ValueError(f"frechet: needs two pictures at least, not {min(len(one), len(other))}")
    means, spreads = zip(*((f.double().mean(0), torch.cov(f.double().T)) for f in (one, other)), strict=True)
    root = square_root(spreads[0])
    cross = square_root(root @ spreads[1] @ root).trace()
    away = (means[0] - means[1]).square().sum()
    return (away + spreads[0].trace() + spreads[1].trace() - 2 * cross).clamp(min=0)


def square_root(matrix: Float[Tensor, "D D"]) -> Float[Tensor, "D D"]:
    """Of a symmetric matrix without negative eigenvalues; rounding's negative ones count as 0."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def edges96(image: Float[Tensor, "B H W 4"]) -> Float[Tensor, "B 96"]:
    """Of each channel: its mean in 4 x 4 cells; the mean length of its gradient in 2 x 2, at two scales."""
    x = image.permute(0, 3, 1, 2)
    parts = [F.adaptive_avg_pool2d(x, COLOURS)]
    for octave in OCTAVES:
        y = F.avg_pool2d(x, octave)
        across, down = y[..., :-1, 1:] - y[..., :-1, :-1], y[..., 1:, :-1] - y[..., :-1, :-1]
        parts.append(F.adaptive_avg_pool2d((across.square() + down.square()).sqrt(), EDGES))
    return torch.cat([part.flatten(1) for part in parts], dim=1)
