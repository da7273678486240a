"""What every sweep does, whatever chooses its runs: number them, launch them, tell what became of them."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext
from omegaconf import DictConfig

from threestudio_like.run import jobs, summary
from threestudio_like.run.errors import UserError, hint, one_line
from threestudio_like.run.folder import lock

SENT = "THREESTUDIO_LIKE_JOBS"  # tells the processes that Lightning starts what the first one is at

OTHERS = ("TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "NODE_RANK")  # hints that others start the processes
POOL = "JoblibLauncher"  # of processes that all end when one is killed
Batch = Sequence[list[str]]  # the overrides of jobs that may run at once


class Task:
    """What a job does, and in its process says which one it is."""

    def __init__(self, function: Callable[[DictConfig], Any]) -> None:
        self.function = function

    def __call__(self, config: DictConfig) -> Any:
        """Run it."""
        place = jobs.here()
        if place is None or not first_process():
            return self.function(config)
        if SENT in os.environ:
            os.environ[SENT] = json.dumps({**json.loads(os.environ[SENT]), "at": place[1]})
        with jobs.at(*place):
            return self.function(config)


class Jobs(Sweeper):
    """Base of our sweepers.

    objective: the key of metrics.json that says which run is best (null: none does); direction: whether the
    greatest or the least is. loggers: the summary's dashboards. params: overrides that a YAML gives, and the
    command line may give anew (as Hydra's own sweeper has it); a null one is left out.
    """

    def __init__(
        self,
        *,
        objective: str | None,
        direction: str,
        loggers: Mapping[str, Any] | None,
        params: Mapping[str, Any] | None,
    ) -> None:
        if direction not in summary.DIRECTIONS:
            near = hint(direction, summary.DIRECTIONS)
            raise UserError(f"hydra.sweeper.direction: no direction {direction!r}{near}")
        self.objective, self.direction, self.loggers = objective, direction, loggers or {}
        self.params = [f"{key}={value}" for key, value in (params or {}).items() if value is not None]
        self.failures: list[Exception] = []

    def setup(
        self, *, hydra_context: HydraContext, task_function: Callable[[Any], Any], config: DictConfig
    ) -> None:
        """Hydra's beginning."""
        self.hydra_context, self.config = hydra_context, config
        self.folder = Path(config.hydra.sweep.dir).absolute()
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=Task(task_function), config=config
        )

    def batches(self, overrides: list[Override]) -> Iterator[tuple[int, Batch]]:
        """The number of the first job, and the jobs; asked for the next batch when the last one is over."""
        raise NotImplementedError

    def sweep(self, arguments: list[str]) -> None:
        """Everything, and its summary at the end, whatever the end is."""
        if any(name in os.environ for name in OTHERS):
            from threestudio_like.run import processes  # torch, which mistakes so far need not wait for

            if processes.started_by_others():
                raise UserError("-m: a sweep is begun by one process; leave out torchrun, srun and NODE_RANK")
        if not first_process():
            return self.follow()
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = parser.parse_overrides([*self.params, *arguments])
        last = {each.get_key_element(): each for each in given}
        if "dry" in last and last["dry"].value() is not False:
            raise UserError("dry: shows one run and writes nothing; a sweep has many, and a folder")
        held = taken(self.folder)
        try:
            with terminable():
                for first, batch in self.batches(list(last.values())):
                    self.launch(first, batch)
        finally:
            self.conclude()
            held.close()
        summary.check_objective(self.objective, jobs.read(self.folder))
        if self.failures:
            raise self.failures[0]
        return None

    def conclude(self) -> None:
        """The summary; what fails there does not hide what ended the sweep."""
        try:
            summary.write_summary(self.folder, self.objective, self.direction, self.loggers)
        except Exception as error:  # a dashboard's
            self.failures.append(error)

    def launch(self, first: int, batch: Batch) -> None:
        """Run jobs of known numbers; what fails is noted, and raised when all is over."""
        for number, words in enumerate(batch, start=first):
            jobs.note(self.folder, number, overrides=words)
        self.attempt(first, batch, alone=False)

    def attempt(self, first: int, batch: Batch, *, alone: bool) -> None:
        """Hand jobs to the launcher. A killed worker takes a pool with it: jobs that had not begun are
        launched again, those that were killed once more, each alone.
        """
        os.environ[SENT] = json.dumps({"first": first, "batch": list(batch), "at": first})
        try:
            returns = self.launcher.launch(batch, initial_job_idx=first)
        except Exception as error:  # of a launcher: no cluster, a worker that was killed, a job out of time
            line = f"hydra/launcher: {type(error).__name__}: {one_line(error)}"
            numbers = range(first, first + len(batch))
            mine = [job for job in jobs.settled(self.folder) if job.number in numbers]
            unbegun = [job for job in mine if job.state == "sent"]  # in a cluster, perhaps in its queue
            if alone or len(unbegun) == len(mine) or type(self.launcher).__name__ != POOL:
                self.failures.append(UserError(line))
                for job in unbegun:
                    jobs.note(self.folder, job.number, error=line)
                return
            print(f"{line}; the others go on", file=sys.stderr, flush=True)
            for start, words in neighbours(unbegun):
                self.attempt(start, words, alone=False)
            for job in mine:
                if job.state == "killed":
                    self.attempt(job.number, [list(job.overrides)], alone=True)
            return
        finally:
            os.environ.pop(SENT, None)
        for number, done in enumerate(returns, start=first):
            self.judge(number, done)

    def judge(self, number: int, done: JobReturn) -> None:
        """A run that raised something, or that was refused in one line, which launch.py gave back."""
        value = done._return_value  # the property prints
        if done.status == JobStatus.FAILED and not isinstance(value, jobs.Pruned):
            self.failures.append(value)
        if isinstance(value, (Exception, str)):
            jobs.note(self.folder, number, error=one_line(value))

    def follow(self) -> None:
        """A process of another device: the jobs that are left, as the first process has them."""
        sent = json.loads(os.environ[SENT])
        at = sent["at"]
        self.launcher.launch(sent["batch"][at - sent["first"] :], initial_job_idx=at)


def neighbours(found: Sequence[jobs.Job]) -> Iterator[tuple[int, Batch]]:
    """Jobs as runs of numbers that follow each other: a launcher counts by itself."""
    group: list[jobs.Job] = []
    for job in found:
        if group and job.number != group[-1].number + 1:
            yield group[0].number, [list(one.overrides) for one in group]
            group = []
        group.append(job)
    if group:
        yield group[0].number, [list(one.overrides) for one in group]


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM is Ctrl-C: it would end the process without a summary."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def taken(folder: Path) -> TextIO:
    """The lock of a sweep's folder, which is made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return lock(folder)
    except UserError as error:
        raise UserError(f"hydra.sweep.dir: another process is at work in {folder}") from error
    except OSError as error:
        raise UserError(f"cannot write in {str(error.filename)!r} ({error.strerror})") from error


def first_process() -> bool:
    """Whether Lightning has not started this process for another device of the same run."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
