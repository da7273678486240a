"""Runs side by side: `python -m threestudio_like.run.table outputs/` prints one line for each, and the means.

A line is read from a run's run.json (its state) and metrics.json (its scores); nothing is computed anew.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SCORES = (
    "psnr",
    "ssim",
    "volume_iou",
    "chamfer",
    "novel_psnr",
    "novel_ssim",
    "normal_error_deg",
    "front_psnr",
    "mask_iou",
    "view_similarity",
    "view_consistency",
    "seconds",
)


class Row(NamedTuple):
    """One run."""

    experiment: str
    name: str
    state: str
    scores: dict[str, float]


def rows(folder: Path) -> list[Row]:
    """Every run below `folder`, by experiment and name."""
    found = []
    for manifest in folder.rglob("run.json"):
        record, scores = json.loads(manifest.read_text()), manifest.with_name("metrics.json")
        numbers = json.loads(scores.read_text()) if scores.exists() else {}
        kept = {name: numbers[name] for name in SCORES if name in numbers}
        found.append(Row(record.get("experiment", "?"), manifest.parent.name, record.get("state", "?"), kept))
    return sorted(found, key=lambda run: run[:3])


def means(runs: Iterable[Row]) -> list[Row]:
    """One line for each experiment of several finished runs: the mean of every score that all have."""
    groups: dict[str, list[Row]] = {}
    for run in runs:
        if run.state == "finished":
            groups.setdefault(run.experiment, []).append(run)
    return [
        Row(experiment, f"mean of {len(group)}", "", averaged([run.scores for run in group]))
        for experiment, group in groups.items()
        if len(group) > 1
    ]


def averaged(scores: list[dict[str, float]]) -> dict[str, float]:
    """By name, of those that are in all."""
    common = [name for name in SCORES if all(name in each for each in scores)]
    return {name: statistics.fmean(each[name] for each in scores) for name in common}


def text(runs: Iterable[Row]) -> str:
    """A Markdown table; a score that no run has gets no column."""
    runs = list(runs)
    names = [name for name in SCORES if any(name in run.scores for run in runs)]
    lines = [["experiment", "name", "state", *names]]
    for run in runs:
        numbers = [f"{run.scores[name]:.3g}" if name in run.scores else "" for name in names]
        lines.append([run.experiment, run.name, run.state, *numbers])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def main(arguments: list[str]) -> int:
    """Print the table of one folder."""
    folder = Path(arguments[0]) if len(arguments) == 1 else None
    if folder is None or not folder.is_dir():
        print("error: expected one folder of runs, such as outputs/", file=sys.stderr)
        return 2
    found = rows(folder)
    print(text([*found, *means(found)]) if found else f"no runs in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
