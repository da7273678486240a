"""Runs side by side: `python -m threestudio_like.run.table outputs/` prints one line for each, and the means.

A line is read from a run's run.json (its state), metrics.json (its scores) and, while a stage is not
finished, the stage's metrics.jsonl (its step); nothing is computed anew. The seconds of a run that is not
finished are those from its start to the last that it logged. A run is called killed if it says that it is
running and no process is, and damaged if its files are not what a run writes.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from threestudio_like import markdown
from threestudio_like.run.folder import at_work

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
PLACES = ("stage", "step", "started", "tags", "note")
CLOCK = "%Y-%m-%dT%H:%M:%S%z"
TAIL = 1 << 16  # bytes of a log, in which its last line is


class Damaged(ValueError):
    """A run's file that says something else than runs do."""


class Row(NamedTuple):
    """One run."""

    experiment: str
    name: str
    state: str
    scores: dict[str, float]
    place: dict[str, str] = {}  # by column: the stage and its step, when it began, its tags and its note


def rows(folder: Path) -> list[Row]:
    """Every run below `folder`, by experiment and name."""
    found = []
    for manifest in folder.rglob("run.json"):
        try:
            found.append(row(manifest.parent))
        except (OSError, ValueError, OverflowError, RecursionError):  # Damaged, and JSON's own
            found.append(Row("?", manifest.parent.name, "damaged", {}))
    return sorted(found, key=lambda run: run[:3])


def row(folder: Path) -> Row:
    """The line of one run; Damaged, or JSON's own error, if its files are not what a run writes."""
    record, scores = read(folder / "run.json"), read(folder / "metrics.json")
    kept = {name: float(value(scores, name, (int, float), 0.0)) for name in SCORES if name in scores}
    state = value(record, "state", str, "?")
    if state == "running" and not at_work(folder):
        state = "killed"
    name, place = where(record, folder)
    if state != "finished" and (spent := age(record, folder / name)):
        kept["seconds"] = spent
    return Row(value(record, "experiment", str, "?"), folder.name, state, kept, place)


def read(file: Path) -> dict[str, Any]:
    """A file of a run, which may not be there yet."""
    values = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if not isinstance(values, dict):
        raise Damaged(file)
    return values


def value(record: Mapping[str, Any], name: str, kind: type | tuple[type, ...], absent: Any) -> Any:
    """What a record says, if it is of its kind."""
    found = record.get(name, absent)
    if not isinstance(found, kind) or isinstance(found, bool):
        raise Damaged(name)
    return found


def where(record: Mapping[str, Any], folder: Path) -> tuple[str, dict[str, str]]:
    """The stage that a run is in or ended with, and what the line says of it, by column."""
    stages = value(record, "stages", dict, {})
    name = next(reversed(stages), "")
    steps = value(stages, name, dict, {}).get("steps")
    step = last_step(folder / name / "metrics.jsonl") if name and steps is None else steps
    said = {"stage": name, "step": step, "started": value(record, "started", str, "")[:16]}
    said |= {"tags": " ".join(map(str, value(record, "tags", list, []))), "note": record.get("note", "")}
    return name, {column: str(text) for column, text in said.items() if text not in (None, "")}


def last_step(file: Path) -> int | None:
    """The step that was logged last; a line that is being written is not looked at."""
    if not file.exists():
        return None
    with file.open("rb") as lines:
        lines.seek(max(0, file.stat().st_size - TAIL))
        whole = lines.read().rpartition(b"\n")[0].splitlines()
    try:
        return json.loads(whole[-1])["step"] if whole else None
    except (ValueError, KeyError, TypeError):
        return None


def age(record: Mapping[str, Any], stage: Path) -> float | None:
    """Seconds from the start of a run that is not finished to the last that it logged."""
    file = stage / "metrics.jsonl"
    if "started" not in record or not file.exists():
        return None
    return max(0.0, file.stat().st_mtime - datetime.strptime(record["started"], CLOCK).timestamp())


def means(runs: Iterable[Row]) -> list[Row]:
    """One line for finished runs of an experiment with as many steps: the means of what all of them have."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for run in runs:
        if run.state == "finished":
            long = run.place.get("stage", ""), run.place.get("step", "")
            groups.setdefault((run.experiment, *long), []).append(run)
    return [
        Row(
            experiment,
            f"mean of {len(group)}",
            "",
            averaged([run.scores for run in group]),
            {name: text for name, text in (("stage", stage), ("step", step)) if text},
        )
        for (experiment, stage, step), group in groups.items()
        if len(group) > 1
    ]


def averaged(scores: list[dict[str, float]]) -> dict[str, float]:
    """By name, of those that are in all."""
    common = [name for name in SCORES if all(name in each for each in scores)]
    return {name: statistics.fmean(each[name] for each in scores) for name in common}


def text(runs: Iterable[Row]) -> str:
    """A Markdown table; what no run has gets no column."""
    runs = list(runs)
    names = [name for name in SCORES if any(name in run.scores for run in runs)]
    places = [name for name in PLACES if any(name in run.place for run in runs)]
    lines = [
        [run.experiment, run.name, run.state, *map(run.place.get, places), *map(run.scores.get, names)]
        for run in runs
    ]
    return markdown.table(["experiment", "name", "state", *places, *names], lines)


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
