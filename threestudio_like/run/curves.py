"""Losses over steps as inline SVG: no library, no script."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import fmean

WIDTH, HEIGHT, MARGIN = 240, 90, 4
MAX_POINTS = 120  # of a curve; more cannot be told apart
SETTINGS = ("weight/", "schedule/", "lr/", "system/")  # not what came out; dashboards show them

Curve = Sequence[tuple[float, float]]


def curves(lines: Iterable[str]) -> dict[str, Curve]:
    """Every number that lines of JSON give with a step, by name; a line cut short by a kill is skipped."""
    found: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        try:
            values = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not isinstance(values, Mapping) or not isinstance(values.get("step"), (int, float)):
            continue
        for name, value in values.items():
            if name not in ("step", "epoch") and isinstance(value, (int, float)) and math.isfinite(value):
                found.setdefault(name, []).append((float(values["step"]), float(value)))
    return {name: points for name, points in found.items() if len(points) > 1}


def thinned(points: Curve) -> Curve:
    """Means of neighbours, at most MAX_POINTS of them."""
    size = -(-len(points) // MAX_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(fmean(x for x, _ in group), fmean(y for _, y in group)) for group in groups]


def drawn(name: str, points: Curve) -> str:
    """One small chart: the name, the last value, the line between the least and the greatest."""
    steps, values = zip(*thinned(points), strict=True)
    left, bottom = min(steps), min(values)
    across = (WIDTH - 2 * MARGIN) / (max(steps) - left or 1)
    up = (HEIGHT - 2 * MARGIN) / (max(values) - bottom or 1)
    path = " ".join(
        f"{MARGIN + (x - left) * across:.1f},{HEIGHT - MARGIN - (y - bottom) * up:.1f}"
        for x, y in zip(steps, values, strict=True)
    )
    return (
        f"<figure><svg viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}'>"
        f"<polyline points='{path}' fill='none' stroke='currentColor'/></svg>"
        f"<figcaption>{escape(name)}: {values[-1]:.3g} <small>({bottom:.3g} to {max(values):.3g},"
        f" step {points[-1][0]:.0f})</small></figcaption></figure>"
    )


def charts(file: Path) -> str:
    """All curves of a metrics.jsonl; nothing if there is none."""
    if not file.exists():
        return ""
    with file.open(encoding="utf-8", errors="replace") as lines:
        found = curves(lines)
    return "".join(drawn(name, found[name]) for name in found if not name.startswith(SETTINGS))
