"""A sweep in one place: summary.csv, summary.md, a picture of all runs, and pictures of the best.

`python -m threestudio_like.run.summary outputs/sweeps/NAME volume_iou` writes it anew; an objective of which
less is better is followed by `minimize`. Nothing is computed: it reads what the runs left.
"""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from threestudio_like import markdown
from threestudio_like.files import write, write_csv
from threestudio_like.run import jobs, table
from threestudio_like.run.errors import UserError, hint
from threestudio_like.run.folder import recorded
from threestudio_like.run.jobs import Job

BEST = 4  # runs whose pictures are shown
MAX_AXES = 8  # of the picture of all runs
WIDTH = 1024  # pixels of the pictures of the best
DIRECTIONS = ("maximize", "minimize")
Table = tuple[list[str], list[list[Any]]]


def write_summary(sweep: Path, objective: str | None, direction: str, loggers: Mapping[str, Any]) -> None:
    """All of it, to the sweep's folder and its dashboards."""
    found = ranked(jobs.read(sweep), objective, direction)
    if not found:
        return
    columns, rows = cells(found, sweep)
    write_csv(sweep / "summary.csv", columns, rows)
    pictures = drawn(found, sweep, objective, direction)
    write(sweep / "summary.md", page(found, sweep, objective, direction, list(pictures)))
    if loggers:
        from threestudio_like.run.dashboards import show_sweep
        from threestudio_like.run.stages import placed

        nodes, told = placed({"logger": loggers}, sweep)["logger"], {"runs": (columns, rows)}
        show_sweep(nodes, "hydra.sweeper.loggers", pictures, told)


def ranked(found: Sequence[Job], objective: str | None, direction: str) -> list[Job]:
    """The best first; then those that have not the number, in their order."""

    def place(job: Job) -> tuple[float, int]:
        value = job.metrics.get(objective or "", math.nan)
        known = job.state == "finished" and not math.isnan(value)
        return (-value if direction == "maximize" else value) if known else math.inf, job.number

    return sorted(found, key=place)


def check_objective(objective: str | None, found: Sequence[Job]) -> None:
    """The objective is a number that the runs leave, or a name that is nearly one."""
    for job in found:
        if objective is not None and job.state == "finished" and objective not in job.metrics:
            where = f"no number of that name in {job.folder}/metrics.json"
            raise UserError(f"hydra.sweeper.objective: {objective}: {where}{hint(objective, job.metrics)}")


def scores(found: Sequence[Job]) -> list[str]:
    """The numbers that any run has; those that we know first."""
    names = dict.fromkeys(name for job in found for name in job.metrics)
    return sorted(names, key=lambda name: table.SCORES.index(name) if name in table.SCORES else len(names))


def cells(found: Sequence[Job], sweep: Path) -> Table:
    """A line for each run: its number, what it was given, what came out, where it is."""
    varied, names = jobs.varied(found), scores(found)
    columns = ["job", "state", *varied, *names, "folder", "error"]
    rows = []
    for index, job in enumerate(found):
        given = [values[index] for values in varied.values()]
        folder = os.path.relpath(job.folder, sweep) if job.folder else ""
        rows.append([job.number, job.state, *given, *(job.metrics.get(n) for n in names), folder, job.error])
    return columns, rows


def page(
    found: Sequence[Job], sweep: Path, objective: str | None, direction: str, pictures: Sequence[str]
) -> str:
    """summary.md."""
    columns, rows = cells(found, sweep)
    counts = ", ".join(f"{count} {state}" for state, count in Counter(job.state for job in found).items())
    lines = [f"# {sweep.name}", "", f"{len(found)} runs: {counts}."]
    best = found[0]
    if objective in best.metrics and best.folder:
        place = os.path.relpath(best.folder, sweep)
        shown = f"{best.metrics[objective]:.4g}"  # type: ignore[index]
        lines.append(f"Best by {objective} ({direction}): job {best.number}, {shown}, [{place}]({place}).")
    links = columns.index("folder")
    lined = ([*row[:links], linked(row[links]), *row[links + 1 :]] for row in rows)
    lines += ["", markdown.table(columns, lined), ""]
    lines += [f"![{name}]({name}.png)\n" for name in pictures]
    return "\n".join(lines)


def linked(folder: str) -> str:
    """A link to a run's folder, if it has one."""
    return f"[{folder}]({folder})" if folder else ""


def drawn(found: Sequence[Job], sweep: Path, objective: str | None, direction: str) -> dict[str, Any]:
    """The pictures by name, also written as <name>.png."""
    from threestudio_like.loggers import images
    from threestudio_like.loggers.parallel import parallel

    pictures = {}
    axes = coordinates(found, objective)
    if axes:
        pictures["parallel"] = parallel(axes, reverse=direction == "minimize" and objective in axes)
    shown = {f"job {job.number}: {told(job, objective)}": file for job in found if (file := portrait(job))}
    if shown:
        pictures["best" if objective else "runs"] = images.sheet(dict(list(shown.items())[:BEST]), WIDTH)
    for name, picture in pictures.items():
        images.save(sweep / f"{name}.png", picture)
    return pictures


def coordinates(found: Sequence[Job], objective: str | None) -> dict[str, list[float | str]]:
    """What was varied, then the scores, the objective last; only of runs that are finished or were pruned."""
    done = [job for job in found if job.state in ("finished", "pruned")]
    axes = {key: [number(value) for value in values] for key, values in jobs.varied(done).items()}
    axes = {key: v if all(type(x) is float for x in v) else list(map(str, v)) for key, v in axes.items()}
    names = [name for name in scores(done) if name != objective][: max(MAX_AXES - 1 - len(axes), 0)]
    for name in [*names, *([objective] if objective else [])]:
        values = [float(job.metrics.get(name, math.nan)) for job in done]
        if any(map(math.isfinite, values)):
            axes[name] = [value if math.isfinite(value) else math.nan for value in values]
    return axes if done else {}


def number(text: str) -> float | str:
    """A value of an override, as a number where it is one."""
    try:
        return float(text)
    except ValueError:
        return text


def told(job: Job, objective: str | None) -> str:
    """A caption."""
    score = f"{objective} {job.metrics[objective]:.4g}, " if objective in job.metrics else ""  # type: ignore
    return score + " ".join(word for word in job.overrides if not word.startswith(("prompt=", "outputs=")))


def portrait(job: Job) -> Path | None:
    """The picture of a finished run: its export's, or the last that its last stage drew."""
    if job.folder is None or job.state != "finished":
        return None
    plan = recorded(job.folder / "run.json").get("plan", [])
    drawn = [file for stage in reversed(plan) for file in latest(job.folder / stage / "images")]
    return next((file for file in (job.folder / "export" / "preview.png", *drawn) if file.exists()), None)


def latest(folder: Path) -> list[Path]:
    """Pictures of a stage, the last step's first (files are <name>-<step>.png)."""
    return sorted(folder.glob("[!.]*.png"), key=lambda file: file.stem.rpartition("-")[2], reverse=True)


def main(arguments: list[str]) -> int:
    """Write the summary of one sweep's folder."""
    folder = Path(arguments[0] if arguments else "")
    objective = arguments[1] if len(arguments) > 1 else None
    direction = arguments[2] if len(arguments) > 2 else DIRECTIONS[0]
    try:
        if len(arguments) > 3 or direction not in DIRECTIONS or not (folder / jobs.FOLDER).is_dir():
            raise UserError("expected the folder of a sweep, and perhaps a score and minimize")
        check_objective(objective, jobs.read(folder))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_summary(folder, objective, direction, {})
    print(folder / "summary.md")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
