"""Paired comparisons: means and standard errors over objects, each of which may be measured several times.

Measurements of one object are not independent of each other, so an object counts once, with its own mean.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import NamedTuple


class Estimate(NamedTuple):
    """A mean over objects; its standard error is not known from one object alone."""

    mean: float
    error: float | None
    objects: int

    def above(self, bound: float, errors: float) -> bool:
        """Whether the mean is over `bound` by more than so many standard errors."""
        return self.error is not None and self.mean - bound > errors * self.error

    def __str__(self) -> str:
        return f"{self.mean:.3g}" if self.error is None else f"{self.mean:.3g} ± {self.error:.2g}"


def estimated(measurements: Iterable[tuple[str, float]]) -> Estimate:
    """Of (object, value) pairs; at least one."""
    groups: dict[str, list[float]] = {}
    for name, value in measurements:
        groups.setdefault(name, []).append(value)
    assert groups, "nothing was measured"
    means = [statistics.fmean(values) for values in groups.values()]
    error = statistics.stdev(means) / len(means) ** 0.5 if len(means) > 1 else None
    return Estimate(statistics.fmean(means), error, len(means))
