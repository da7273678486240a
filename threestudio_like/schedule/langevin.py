"""Langevin dynamics: samples from a score alone, level by level (Song and Ermon 2019, algorithm 1).

x <- x + a s(x) + sqrt(2 a) z. The paper's step alpha is 2 a; its code takes the same number for a itself and
so goes twice as far. `Convention` says which of the two a number means. `annealed` takes eps instead of a
score, and a VP chain instead of a ladder, as the samplers of schedule/samplers.py do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.ranges import Count, Positive
from threestudio_like.schedule.samplers import Eps
from threestudio_like.schedule.ve import VE
from threestudio_like.schedule.vp import VP

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


def annealed(
    eps: Eps,
    x_t: Float[Tensor, "B ..."],
    levels: list[int],
    schedule: VP,
    *,
    ratio: Positive | None,
    count: Count,
    convention: Convention,
    denoise: bool,
) -> Float[Tensor, "B ..."]:
    """Annealed Langevin through the levels of a VP chain, whose x_t = (x + sigma z) / sqrt(1 + sigma^2).

    The score of x + sigma z is -eps / sigma. `ratio` is step / sigma_L^2: of the paper's numbers, 2e-5 and
    0.01, it is 0.2; None takes the one that matches the ladder.
    """
    t = torch.tensor(levels, device=x_t.device)
    alpha_bar = schedule.alpha_bar[t].double()
    ladder = VE(sigmas=((1 - alpha_bar) / alpha_bar).sqrt()).to(x_t.device)
    scale = alpha_bar.sqrt().to(x_t.dtype).view(-1, *[1] * (x_t.ndim - 1))

    def score(x: Tensor, level: Tensor) -> Tensor:
        return -eps(scale[level] * x, t[level]) / ladder.deviation(level, x)

    if ratio is None:
        ratio = matched(ladder, count) * (1 if convention == "code" else 2)
    step = ratio * float(ladder.sigmas[-1]) ** 2
    settings = {"step": step, "count": count, "convention": convention, "denoise": denoise}
    return annealed_langevin(score, x_t / scale[0], ladder, **settings)  # type: ignore[arg-type]


def matched(ladder: VE, count: int) -> float:
    """The drift, in units of sigma^2, whose `count` steps bring one level's noise nearest to the next one's.

    NCSNv2's technique 4 (Song and Ermon 2020): of points at a level with only the variance of the one before,
    g^2 sigma^2, `count` steps of drift r sigma^2 leave (q (g^2 - c) + c) sigma^2, with q = (1 - r)^(2 count)
    and c = 2 / (2 - r); r makes that least, since it is never below 1. g is the ladder's mean ratio.
    """
    ends = ladder.sigmas[[0, -1]].double()
    growth = (ends[0] / ends[1]) ** (2 / max(1, ladder.num_levels - 1))  # g^2
    r = torch.logspace(-6, 0, 100_001, dtype=torch.float64, device=growth.device)
    settled = 2 / (2 - r)
    return r[((1 - r) ** (2 * count) * (growth - settled) + settled).argmin()].item()


def plain(
    eps: Eps,
    x_t: Float[Tensor, "B ..."],
    levels: list[int],
    schedule: VP,
    *,
    ratio: float,
    count: int,
    convention: Convention,
    denoise: bool,
) -> Float[Tensor, "B ..."]:
    """Langevin at the last level alone: what the ladder is for can be seen by its absence."""
    settings = {"ratio": ratio, "count": count, "convention": convention, "denoise": denoise}
    return annealed(eps, x_t, levels[-1:], schedule, **settings)  # type: ignore[arg-type]


def at(score: LevelScore, level: int, like: Float[Tensor, "B ..."]) -> Callable[[Tensor], Tensor]:
    """The score at one level, for the whole batch."""
    levels: Int[Tensor, " B"] = torch.full((len(like),), level, dtype=torch.int64, device=like.device)
    return lambda x: score(x, levels)
