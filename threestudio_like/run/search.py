"""An Optuna study in a sweep's folder: what is varied, what was tried, what to try next.

It lives in <sweep>/study.db and outlives the process; a trial's number is its job's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from threestudio_like.run.errors import UserError
from threestudio_like.run.jobs import Job

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution

NAME = "sweep"
KILLED = "killed"  # marks a trial whose process did not live to tell


class Search(NamedTuple):
    """seed: of the suggestions; startup: trials at random before the first that is a guess; jobs: at once."""

    seed: int
    startup: int
    jobs: int


def optuna() -> Any:
    """The package, or how to get it."""
    try:
        import optuna
    except ImportError as error:
        raise UserError("hydra/sweeper: needs optuna; pip install 'threestudio-like[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def place(sweep: Path) -> str:
    """Where the study of a sweep is, as Optuna wants it told."""
    return f"sqlite:///{sweep / 'study.db'}"


def opened(sweep: Path, direction: str, search: Search) -> Study:
    """The study of this folder, new or killed here before; whoever calls has the folder alone.

    Suggestions depend on the seed and on how many trials there are: else the first ones would come again.
    """
    settings = {"study_name": NAME, "storage": place(sweep), "load_if_exists": True}
    study = optuna().create_study(direction=direction, **settings)
    if study.direction.name.lower() != direction:
        word = f"the study in {sweep} was begun to {study.direction.name.lower()}"
        raise UserError(f"hydra.sweeper.direction: {word}; a study keeps its direction")
    study.sampler = optuna().samplers.TPESampler(
        seed=search.seed + len(study.get_trials(deepcopy=False)),
        n_startup_trials=search.startup,
        constant_liar=search.jobs > 1,
    )
    return study


def caught_up(study: Study, found: Sequence[Job], objective: str) -> None:
    """What came, while nobody listened, of the trials that a killed process had begun."""
    states, known = optuna().trial.TrialState, {job.number: job for job in found}
    for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
        job = known.get(trial.number)
        if job is not None and job.state not in ("sent", "killed", "interrupted"):
            told(study, trial.number, job, objective)
            continue
        study._storage.set_trial_user_attr(trial._trial_id, KILLED, True)
        study.tell(trial.number, state=states.FAIL)


def num_done(study: Study) -> int:
    """Trials that came to an end of their own, good or bad."""
    return sum(KILLED not in trial.user_attrs for trial in study.get_trials(deepcopy=False))


def space(overrides: Sequence[Override]) -> dict[str, BaseDistribution]:
    """What may be varied, by the key that it is written with."""
    return {each.get_key_element(): distribution(each) for each in overrides if each.is_sweep_override()}


def distribution(override: Override) -> BaseDistribution:
    """Of interval(0.1,2), int(interval(1,9)), tag(log,interval(1e-4,1e-1)), range(0,3) (0 to 2), or a,b,c."""
    kinds, value = optuna().distributions, override.value()
    try:
        if isinstance(value, IntervalSweep):
            whole, log = isinstance(value.start, int), "log" in value.tags
            kind = kinds.IntDistribution if whole else kinds.FloatDistribution
            return kind(value.start, value.end, log=log)
        if isinstance(value, RangeSweep):
            steps = list(value.range())
            kind = kinds.IntDistribution if isinstance(steps[0], int) else kinds.FloatDistribution
            step = value.step if isinstance(steps[0], int) else float(value.step)
            return kind(type(step)(steps[0]), type(step)(steps[-1]), step=step)
        return kinds.CategoricalDistribution(list(override.sweep_string_iterator()))
    except (ValueError, IndexError) as error:
        raise UserError(f"{override.get_key_element()}: nothing to choose from ({error})") from error


def asked(study: Study, varied: Mapping[str, BaseDistribution]) -> Trial:
    """The next trial."""
    try:
        return study.ask(fixed_distributions=dict(varied))
    except ValueError as error:  # Optuna's words for a study that was begun with others
        raise UserError(f"hydra.sweep.dir: the study there was begun with other values ({error})") from error


def told(study: Study, number: int, job: Job, objective: str) -> None:
    """What came out of a trial."""
    states, value = optuna().trial.TrialState, job.metrics.get(objective, math.nan)
    if job.state == "finished" and math.isfinite(value):
        study.tell(number, value)
    else:
        study.tell(number, state=states.PRUNED if job.state == "pruned" else states.FAIL)
