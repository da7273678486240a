"""Samplers of a variance-preserving chain: DDIM (Song et al. 2021, eq. 12), ancestral (Ho et al. 2020), Heun.

They take eps as a function (x_t, t) -> eps, so guidance, oracles and networks are all the same to them.
Both start at any t: from pure noise at T - 1, or from a picture noised to a lower one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.ranges import Bounds as Range
from threestudio_like.ranges import Share
from threestudio_like.schedule.vp import VP

Eps = Callable[[Tensor, Tensor], Tensor]  # (x_t, t [B]) -> eps
Bounds = Range | None
# (eps, pure noise, levels, schedule) -> pictures: one of the functions below, or langevin.annealed, with its
# settings given
Sampler = Callable[[Eps, Tensor, list[int], VP], Tensor]


def leading(num_steps: int, count: int) -> list[int]:
    """At most `count` of T levels, falling, evenly spaced, the last of them 0 (diffusers' "leading")."""
    count = min(count, num_steps)
    return [num_steps * i // count for i in reversed(range(count))]


def from_level(t: int, count: int) -> list[int]:
    """At most `count` levels, evenly spaced, falling from t itself to 0."""
    return torch.linspace(t, 0, min(count, t + 1)).round().long().tolist()


def ddim(
    eps: Eps, x_t: Float[Tensor, "B ..."], levels: list[int], schedule: VP, *, eta: Share, clip: Bounds
) -> Float[Tensor, "B ..."]:
    """Denoise x_t, which lies at levels[0], down to a picture; eta = 0 is deterministic, 1 as noisy as DDPM.

    On the scale x_t / sqrt(alpha_bar) these are Euler's steps of the probability-flow ODE in sigma (eta = 0)
    and k-diffusion's "Euler ancestral" ones (eta = 1).
    clip: the range of pictures, which each guess of x_0 is brought back to; None for unbounded spaces.
    """
    for level, following in zip(levels, [*levels[1:], None], strict=True):
        t = full(level, x_t)
        noise, x0 = split(eps(x_t, t), x_t, t, schedule, clip)
        alpha_bar = schedule.alpha_bar[level].to(x_t.dtype)
        before = alpha_bar.new_ones(()) if following is None else schedule.alpha_bar[following].to(x_t.dtype)
        sigma = eta * ((1 - before) / (1 - alpha_bar) * (1 - alpha_bar / before)).clamp(min=0).sqrt()
        x_t = before.sqrt() * x0 + (1 - before - sigma**2).clamp(min=0).sqrt() * noise
        if eta > 0 and following is not None:
            x_t = x_t + sigma * torch.randn_like(x_t)
    return x_t


def ancestral(
    eps: Eps,
    x_t: Float[Tensor, "B ..."],
    levels: list[int],
    schedule: VP,
    *,
    variance: Literal["small", "large"],
    clip: Bounds,
) -> Float[Tensor, "B ..."]:
    """Sample q(x_before | x_t, x_0) level by level; `small` is the posterior's variance, `large` is beta."""
    for level, following in zip(levels, [*levels[1:], None], strict=True):
        t = full(level, x_t)
        x0 = split(eps(x_t, t), x_t, t, schedule, clip)[1]
        alpha_bar = schedule.alpha_bar[level].to(x_t.dtype)
        before = alpha_bar.new_ones(()) if following is None else schedule.alpha_bar[following].to(x_t.dtype)
        beta = 1 - alpha_bar / before
        mean = (before.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - before) * x_t) / (1 - alpha_bar)
        if following is None:
            return mean
        spread = beta * (1 - before) / (1 - alpha_bar) if variance == "small" else beta
        x_t = mean + spread.sqrt() * torch.randn_like(x_t)
    return x_t


def heun(
    eps: Eps, x_t: Float[Tensor, "B ..."], levels: list[int], schedule: VP, *, clip: Bounds
) -> Float[Tensor, "B ..."]:
    """Second order steps of the probability-flow ODE, two evaluations each (Karras et al. 2022, algorithm 1).

    Theirs are steps of sigma, which is in the thousands at the end of a VP chain; these are of the angle phi
    with x_t = cos(phi) x_0 + sin(phi) eps, along which dx_t / dphi = v. Turning by the angle is exact where
    x_0 and eps stay what they are, so only v's change is left to average. To 0, where no network was
    trained, it is one turn.
    """
    for level, following in zip(levels, [*levels[1:], None], strict=True):
        v = velocity(eps, x_t, level, schedule, clip)
        delta = angle(schedule, following) - angle(schedule, level)
        cos, sin = delta.cos().to(x_t.dtype), delta.sin().to(x_t.dtype)
        if following is not None:
            ahead = cos * x_t + sin * v
            v = (v + sin * ahead + cos * velocity(eps, ahead, following, schedule, clip)) / 2
        x_t = cos * x_t + sin * v
    return x_t


def angle(schedule: VP, level: int | None) -> Float[Tensor, ""]:
    """phi of a level: 0 for the picture itself, toward pi/2 for noise."""
    alpha_bar = schedule.alpha_bar[0 if level is None else level].double()
    return torch.acos(torch.ones_like(alpha_bar) if level is None else alpha_bar.sqrt())


def velocity(eps: Eps, x_t: Tensor, level: int, schedule: VP, clip: Bounds) -> Tensor:
    """v at x_t."""
    t = full(level, x_t)
    noise, x0 = split(eps(x_t, t), x_t, t, schedule, clip)
    return schedule.v(x0, noise, t)


def split(
    eps: Tensor, x_t: Tensor, t: Int[Tensor, " B"], schedule: VP, clip: Bounds
) -> tuple[Tensor, Tensor]:
    """(eps, x_0); where x_0 is clipped, eps is what then fits x_t."""
    x0 = schedule.x0_from_eps(x_t, eps, t)
    if clip is None:
        return eps, x0
    x0 = x0.clamp(*clip)
    return schedule.eps_from_x0(x_t, x0, t), x0


def full(level: int, like: Float[Tensor, "B ..."]) -> Int[Tensor, " B"]:
    """One level for the whole batch."""
    return torch.full((like.shape[0],), level, dtype=torch.int64, device=like.device)
