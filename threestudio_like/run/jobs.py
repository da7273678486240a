"""The jobs of a sweep (-m): <sweep>/jobs/N.json says what was asked for, and which folder the run has.

Who sends a job writes it, and then the run itself, wherever that is; so files tell what a killed one was at.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from threestudio_like.files import write
from threestudio_like.run.folder import RunFolder, at_work, held, hold, recorded

FOLDER = "jobs"
POLL = 0.5  # seconds between looks at what others do
ORPHAN = 1  # number of the process that is parent to those whose own has ended


class Pruned(Exception):
    """A run that its sweep gives up: others were better by then."""

    state = "pruned"  # in run.json


class Job(NamedTuple):
    """One run of a sweep.

    state: finished, failed, pruned, interrupted, killed, running, damaged (its record); refused where it left
        no folder; or sent.
    """

    number: int
    overrides: tuple[str, ...]
    state: str
    folder: Path | None
    error: str
    metrics: dict[str, float]


def note(sweep: Path, number: int, **values: Any) -> None:
    """Set values of one job."""
    file = sweep / FOLDER / f"{number}.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    write(file, json.dumps({**known, **values}, indent=2) + "\n")


def here() -> tuple[Path, int] | None:
    """The sweep, and the number in it, of the job that this process is at; None if it is none."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    runtime = HydraConfig.get()
    return Path(runtime.sweep.dir).absolute(), int(runtime.job.num)


def belongs(run: RunFolder) -> None:
    """Say in the sweep that this process runs its job in `run`, and in the run whose job it is."""
    place = here()
    if place is not None and run.writes:
        run.record(sweep=str(place[0]), job=place[1])
        note(*place, folder=str(run.path.absolute()))


def adopt(run: Path) -> None:
    """Say in the sweep that a run which another one left, or another sweep, is what its job asks for."""
    place = here()
    if place is not None:
        note(*place, folder=str(run.absolute()), adopted=True)


def awaited(sweep: Path, number: int) -> Path | None:
    """The folder that a job's first process takes, which started this one; None if it went on without one."""
    while True:
        noted = {int(file.stem): json.loads(file.read_text()) for file in _files(sweep)}
        if "folder" in noted[number]:
            return Path(noted[number]["folder"])
        later = any("folder" in values for other, values in noted.items() if other > number)
        if later or os.getppid() == ORPHAN:
            return None
        time.sleep(POLL)


@contextmanager
def at(sweep: Path, number: int) -> Iterator[None]:
    """This process is at a job: from its first moment on, when there is no run's folder yet."""
    lock = sweep / FOLDER / f"{number}.lock"
    file = hold(lock)
    try:
        yield
    finally:
        if file is not None:
            lock.unlink(missing_ok=True)
            file.close()


def working(sweep: Path, number: int) -> bool:
    """Whether a process is at a job."""
    return held(sweep / FOLDER / f"{number}.lock")


def forget(sweep: Path, number: int) -> None:
    """A job that never began."""
    for ending in ("json", "lock"):
        (sweep / FOLDER / f"{number}.{ending}").unlink(missing_ok=True)


def read(sweep: Path) -> list[Job]:
    """All jobs, in their order."""
    return [job(sweep, int(file.stem), json.loads(file.read_text())) for file in _files(sweep)]


def _files(sweep: Path) -> list[Path]:
    """What is noted of each job, in their order."""
    # hidden is what another process is writing at this moment
    return sorted((sweep / FOLDER).glob("[!.]*.json"), key=lambda file: int(file.stem))


def settled(sweep: Path) -> list[Job]:
    """All jobs, when none is at work: those of a sweep that was killed may outlive it."""
    found, told = read(sweep), False
    while still := [job.number for job in found if job.state == "running"]:
        if not told:
            numbers = ", ".join(map(str, still))
            print(f"{sweep}: waits for what still runs from before (jobs {numbers})", flush=True)
        told = True
        time.sleep(POLL)
        found = read(sweep)
    return found


def job(sweep: Path, number: int, noted: dict[str, Any]) -> Job:
    """What is noted of it, and what its folder says."""
    overrides, error = tuple(noted.get("overrides", ())), noted.get("error", "")
    folder = Path(noted.get("folder", ""))
    record = recorded(folder / "run.json")
    if not record and "folder" in noted and (folder / "run.json").exists():
        return Job(number, overrides, "damaged", folder, error, {})
    if record.get("job") != number and not noted.get("adopted"):
        # a refused run leaves nothing, and its name to the next
        state = "running" if working(sweep, number) else "refused" if error else "sent"
        return Job(number, overrides, state, None, error, {})
    state = record.get("state", "running")
    if state == "running" and not at_work(folder):
        state = "killed"
    return Job(number, overrides, state, folder, record.get("error") or error, numbers(folder))


def numbers(folder: Path) -> dict[str, float]:
    """The scores of a run."""
    metrics = recorded(folder / "metrics.json")
    return {name: value for name, value in metrics.items() if type(value) in (int, float)}


def varied(jobs: Sequence[Job]) -> dict[str, list[str]]:
    """Of every override that is not the same in all jobs: its values, one a job; empty where it has none."""
    given = [dict(word.lstrip("+").partition("=")[::2] for word in job.overrides) for job in jobs]
    keys = dict.fromkeys(key for each in given for key in each)
    columns = {key: [each.get(key, "") for each in given] for key in keys}
    return {key: values for key, values in columns.items() if len(set(values)) > 1}
