"""Langevin dynamics: samples from a score alone, level by level (Song and Ermon 2019, algorithm 1).

x <- x + a s(x) + sqrt(2 a) z. The paper's step alpha is 2 a; its code takes the same number for a itself and
so goes twice as far. `Convention` says which of the two a number means.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.schedule.ve import VE

LevelScore = Callable[[Tensor, Tensor], Tensor]  # (x [B ...], level [B]) -> score of the data with its noise
Convention = Literal["paper", "code"]


def langevin(
    score: Callable[[Tensor], Tensor],
    x: Float[Tensor, "B ..."],
    *,
    step: float,
    count: int,
    convention: Convention,
) -> Float[Tensor, "B ..."]:
    """`count` steps of one size; what they settle at is the density only as the step goes to 0."""
    drift = step if convention == "code" else step / 2
    for _ in range(count):
        x = x + drift * score(x) + math.sqrt(2 * drift) * torch.randn_like(x)
    return x


def annealed_langevin(
    score: LevelScore,
    x: Float[Tensor, "B ..."],
    schedule: VE,
    *,
    step: float,
    count: int,
    convention: Convention,
    denoise: bool,
) -> Float[Tensor, "B ..."]:
    """`count` steps at each level, of sizes step (sigma_i / sigma_L)^2: `step` is that of the last level.

    denoise: end with the mean of the picture given the sample, x + sigma_L^2 s(x) (Tweedie's formula;
    Jolicoeur-Martineau et al. 2020), instead of the sample, which keeps the last level's noise.
    """
    for level in range(schedule.num_levels):
        size = step * float(schedule.sigmas[level] / schedule.sigmas[-1]) ** 2
        x = langevin(at(score, level, x), x, step=size, count=count, convention=convention)
    if denoise:
        last = schedule.num_levels - 1
        x = x + schedule.sigmas[-1] ** 2 * at(score, last, x)(x)
    return x


def at(score: LevelScore, level: int, like: Float[Tensor, "B ..."]) -> Callable[[Tensor], Tensor]:
    """The score at one level, for the whole batch."""
    levels: Int[Tensor, " B"] = torch.full((len(like),), level, dtype=torch.int64, device=like.device)
    return lambda x: score(x, levels)
