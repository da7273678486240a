"""Sides of a contest by turns, A B C A B C, so that what else the machine does hits all alike; medians."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

ROUNDS = 7
BUDGET = 5.0  # seconds for one side, after its first call
ENDLESS = 8.0  # a first call that takes longer is not repeated, unless it had to compile
COMPILED = ("ours", "Warp")

with_peers = True
missed: dict[str, str] = {}  # peers that cannot be imported, and why


class Contest(NamedTuple):
    """The same work by several; the first side is ours, and is what the others' times are divided by."""

    what: str
    sides: dict[str, Callable[[], Any]]


class Row(NamedTuple):
    """What one side took."""

    what: str
    whose: str
    milliseconds: float  # median
    first: float  # milliseconds of the first call
    ratio: float  # to ours


def peer(name: str) -> ModuleType | None:
    """A package that is here for comparison only; None, and remembered, where it is not."""
    if not with_peers:
        return None
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # a shared library may be what is missing
        missed[name.split(".")[0]] = str(error).splitlines()[0]
        return None


def timed(side: Callable[[], Any]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    side()
    return 1000 * (time.perf_counter() - start)


def compete(contest: Contest) -> list[Row]:
    """Up to ROUNDS calls of each side by turns, fewer of those that are slow."""
    first = {whose: timed(side) for whose, side in contest.sides.items()}
    times: dict[str, list[float]] = {
        whose: [took] if took > 1000 * ENDLESS and whose not in COMPILED else []
        for whose, took in first.items()
    }
    for _ in range(ROUNDS):
        for whose, side in contest.sides.items():
            if not times[whose] or sum(times[whose]) + times[whose][-1] < 1000 * BUDGET:
                times[whose].append(timed(side))
    medians = {whose: statistics.median(found) for whose, found in times.items()}
    ours = next(iter(medians.values()))
    return [Row(contest.what, whose, took, first[whose], took / ours) for whose, took in medians.items()]


def rows(contests: Iterable[Contest]) -> list[Row]:
    """Of all contests, one after the other."""
    return [row for contest in contests for row in compete(contest)]


def table(found: Iterable[Row]) -> str:
    """In markdown."""
    lines = ["| what | whose | ms | ÷ ours | first call, ms |", "| --- | --- | ---: | ---: | ---: |"]
    before = ""
    for what, whose, took, first, ratio in found:
        shown = "" if what == before else what
        lines.append(f"| {shown} | {whose} | {took:.3g} | {ratio:.2f} | {first:.0f} |")
        before = what
    return "\n".join(lines)


def gradients(output: Tensor, slope: Tensor, inputs: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Of `output`, and one backward pass from the same slope for all."""
    return (output.detach(), *torch.autograd.grad(output, tuple(inputs), slope))
