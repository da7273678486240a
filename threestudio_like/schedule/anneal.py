"""The value of a step: weights, noise levels, resolutions and progress are all functions of the one clock."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial

Schedule = Callable[[int], float]
Number = int | float  # YAML writes 1000 where it means 1000.0


def as_schedule(value: Number | Schedule) -> Schedule:
    """A plain number stands for a constant, wherever a schedule belongs."""
    return value if callable(value) else constant(value=value)


def constant(*, value: Number) -> Schedule:
    """The same at every step."""
    return partial(_constant, value=_finite("value", value))


def linear(*, start: Number, end: Number, begin: int, until: int) -> Schedule:
    """`start` up to step `begin`, `end` from step `until`, a straight line between."""
    return _between(_straight, start, end, begin, until)


def cosine(*, start: Number, end: Number, begin: int, until: int) -> Schedule:
    """`start` up to step `begin`, `end` from step `until`, half a cosine between: slow at both ends."""
    return _between(_half_cosine, start, end, begin, until)


def exponential(*, start: Number, end: Number, begin: int, until: int) -> Schedule:
    """`start` up to step `begin`, `end` from step `until`, a constant ratio from step to step between."""
    if not start * end > 0:
        raise ValueError(f"exponential: start and end must have one sign and not be 0, not {start} and {end}")
    return _between(_geometric, start, end, begin, until)


def piecewise(*, points: Sequence[Sequence[Number]]) -> Schedule:
    """Straight lines through [step, value] pairs, constant outside; two at one step make a jump."""
    if not points or any(len(point) != 2 for point in points):
        raise ValueError(f"piecewise: points must be [step, value] pairs, at least one; not {list(points)}")
    steps = tuple(float(step) for step, _ in points)
    if any(later < earlier for earlier, later in zip(steps, steps[1:], strict=False)):
        raise ValueError(f"piecewise: steps must not fall; they are {list(steps)}")
    values = tuple(_finite("points", value) for _, value in points)
    return partial(_piecewise, steps=steps, values=values)


def milestones(*, value: Number, then: Sequence[Sequence[Number]]) -> Schedule:
    """`value` at first, and the other of each [step, other] from that step on: resolutions."""
    if any(len(pair) != 2 for pair in then):
        raise ValueError(f"milestones: then must be [step, value] pairs, not {list(then)}")
    steps = [int(step) for step, _ in then]
    if steps != sorted(set(steps)):
        raise ValueError(f"milestones: steps must rise; they are {steps}")
    values = tuple(_finite("then", other) for _, other in then)
    return partial(_milestones, steps=tuple(steps), values=(_finite("value", value), *values))


def every(*, value: Number | Schedule, period: int, begin: int, until: int) -> Schedule:
    """`value` while begin <= step mod period < until, else 0: losses that take turns."""
    if not 0 <= begin < until <= period:
        raise ValueError(f"every: needs 0 <= begin < until <= period, not {begin}, {until} and {period}")
    return partial(_every, value=as_schedule(value), period=period, begin=begin, until=until)


Shape = Callable[[float, float, float], float]  # (start, end, fraction of the way) -> value

# Partials of plain functions rather than closures: they survive a pickle, and print what they are.


def _constant(step: int, *, value: float) -> float:
    return value


def _between(shape: Shape, start: Number, end: Number, begin: int, until: int) -> Schedule:
    if not until > begin:
        raise ValueError(f"until must come after begin, not {until} after {begin}")
    start, end = _finite("start", start), _finite("end", end)
    return partial(_clamped, shape=shape, start=start, end=end, begin=begin, until=until)


def _clamped(step: int, *, shape: Shape, start: float, end: float, begin: int, until: int) -> float:
    if step <= begin:
        return start
    if step >= until:
        return end
    return shape(start, end, (step - begin) / (until - begin))


def _straight(start: float, end: float, fraction: float) -> float:
    return start + (end - start) * fraction


def _half_cosine(start: float, end: float, fraction: float) -> float:
    return start + (end - start) * (1 - math.cos(math.pi * fraction)) / 2


def _geometric(start: float, end: float, fraction: float) -> float:
    return start * (end / start) ** fraction


def _piecewise(step: int, *, steps: tuple[float, ...], values: tuple[float, ...]) -> float:
    after = bisect_right(steps, step)
    if after == 0:
        return values[0]
    if after == len(steps):
        return values[-1]
    fraction = (step - steps[after - 1]) / (steps[after] - steps[after - 1])
    return _straight(values[after - 1], values[after], fraction)


def _milestones(step: int, *, steps: tuple[int, ...], values: tuple[float, ...]) -> float:
    return values[bisect_right(steps, step)]


def _every(step: int, *, value: Schedule, period: int, begin: int, until: int) -> float:
    return value(step) if begin <= step % period < until else 0.0


def _finite(name: str, value: Number) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value}")
    return float(value)
