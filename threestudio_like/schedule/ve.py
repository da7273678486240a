"""Variance-exploding noise: x_i = x + sigma_i z, on a ladder of levels (Song and Ermon 2019, section 4).

Level 0 is the noisiest; the others follow in a geometric progression.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from threestudio_like.ranges import Count, Positive

COARSEST = 100 ** (1 / 9)  # NCSN's ratio: ten levels from 1 to 0.01


def geometric(num_levels: Count, start: Positive, end: Positive) -> Float[Tensor, " L"]:
    """`num_levels` deviations from `start` down to `end`, in equal ratios."""
    ladder = torch.linspace(math.log(start), math.log(end), num_levels, dtype=torch.float64).exp()
    return ladder.float()


def overlapping(num_dimensions: int, start: float, end: float) -> Float[Tensor, " L"]:
    """From `start` to `end` in as many equal ratios as neighbouring levels need to overlap.

    NCSNv2's technique 2 (Song and Ermon 2020): in D dimensions |x_i| is about N(sqrt(D) sigma_i,
    sigma_i^2 / 2); half of level i + 1 shall lie within three deviations of level i. The ratio
    g = sigma_i / sigma_{i+1} solves Phi(sqrt(2 D) (g - 1) + 3 g) - Phi(sqrt(2 D) (g - 1) - 3 g) = 1/2.
    Below 29 dimensions that is coarser than NCSN's ladder (below 5 anything overlaps): NCSN's g is kept.
    Their technique 1 says what `start` is, which is given by hand: the data's `largest_distance`.
    """
    if start <= end:
        raise ValueError(f"start: must lie above end, {end:g}, not be {start:g}")
    low, high = 1.0 + 1e-9, COARSEST
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _overlap(middle, num_dimensions) > 0.5 else (low, middle)
    return geometric(1 + math.ceil(math.log(start / end) / math.log(low) - 1e-9), start, end)


def _overlap(ratio: float, num_dimensions: int) -> float:
    away, width = math.sqrt(2 * num_dimensions) * (ratio - 1), 3 * ratio
    return (math.erf((away + width) / math.sqrt(2)) - math.erf((away - width) / math.sqrt(2))) / 2


def betas(sigmas: Float[Tensor, " L"]) -> Float[Tensor, " L"]:
    """Of the VP chain whose x_t = (x + sigma z) / sqrt(1 + sigma^2): alpha_bar = 1 / (1 + sigma^2).

    The same pictures on another scale, so that what samples or guides with a VP chain takes a ladder too.
    t = L - 1 - level: in the chain noise grows with t.
    """
    alpha_bar = 1 / (1 + sigmas.double().flip(0) ** 2)
    return 1 - alpha_bar / torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])


class VE(nn.Module):
    """The ladder sigma_0 > sigma_1 > ...; it may be built from any falling tensor."""

    sigmas: Float[Tensor, " L"]

    def __init__(self, *, sigmas: Float[Tensor, " L"]) -> None:
        super().__init__()
        if not (sigmas.diff() < 0).all() or sigmas[-1] <= 0:
            some = ", ".join(f"{float(sigma):.4g}" for sigma in sigmas[:3])
            raise ValueError(
                f"sigmas: expected positive numbers that fall, got {some}, ...; is end below start?"
            )
        self.register_buffer("sigmas", sigmas.float(), persistent=False)

    @property
    def num_levels(self) -> int:
        """L."""
        return len(self.sigmas)

    def deviation(self, level: Int[Tensor, " B"], like: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
        """sigma of each level, shaped to multiply `like`."""
        return self.sigmas[level].to(like.dtype).view(-1, *[1] * (like.ndim - 1))


class Overlapping(NamedTuple):
    """The ladder of `overlapping`, for whoever knows the number of dimensions."""

    start: Positive
    end: Positive

    def ladder(self, num_dimensions: int) -> VE:
        """In so many."""
        return VE(sigmas=overlapping(num_dimensions, self.start, self.end))


def largest_distance(x: Float[Tensor, "B ..."]) -> float:
    """Between two of these points: where a ladder should begin (NCSNv2's technique 1)."""
    return torch.cdist(x.flatten(1), x.flatten(1)).max().item()
