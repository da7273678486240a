"""Which noise level: t of a step, between 0 and num_steps - 1; users write levels t/num_steps in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

from threestudio_like.ranges import Positive, Share
from threestudio_like.schedule.anneal import Schedule, as_schedule

# (step, batch, num_steps) -> t of each picture of the batch, on the CPU
Levels = Callable[[int, int, int], Int[Tensor, " B"]]


class Uniform:
    """t ~ U{low T, ..., high T}, both ends included, anew for each picture; low and high may anneal.

    The numbers come from torch's CPU generator on every device, so that a seed means the same everywhere.
    """

    def __init__(self, *, low: Share | Schedule, high: Share | Schedule) -> None:
        self.low = as_schedule(low)
        self.high = as_schedule(high)
        if self.low(0) > self.high(0):
            raise ValueError(f"low: is above high, {self.low(0):g} above {self.high(0):g}")

    def __call__(self, step: int, batch: int, num_steps: int) -> Int[Tensor, " B"]:
        """t for `batch` pictures."""
        low, high = at(self.low, step, num_steps), at(self.high, step, num_steps)
        if low > high:
            raise ValueError(f"levels: low is above high at step {step}: {self.low(step)}, {self.high(step)}")
        return torch.randint(low, high + 1, (batch,))


class Power:
    """t = T u^exponent of a uniform u: below 1, high noise comes up more often."""

    def __init__(self, *, exponent: Positive) -> None:
        self.exponent = exponent

    def __call__(self, step: int, batch: int, num_steps: int) -> Int[Tensor, " B"]:
        """t for `batch` pictures."""
        return (torch.rand(batch) ** self.exponent * num_steps).long().clamp(max=num_steps - 1)


class Annealed:
    """The same t for all, falling as `level` says: no randomness (HiFA; the renoising of BSD)."""

    def __init__(self, *, level: Share | Schedule) -> None:
        self.level = as_schedule(level)

    def __call__(self, step: int, batch: int, num_steps: int) -> Int[Tensor, " B"]:
        """t for `batch` pictures."""
        return torch.full((batch,), at(self.level, step, num_steps), dtype=torch.int64)


def at(level: Schedule, step: int, num_steps: int) -> int:
    """t of a level at a step; level 1 is the last t."""
    value = level(step)
    if not 0 <= value <= 1:
        raise ValueError(f"levels: a noise level lies between 0 and 1, not {value} (step {step})")
    return min(int(value * num_steps + 1e-6), num_steps - 1)  # 0.45 * 1000 is 449.99...
