"""Seek the best by Optuna: `hydra/sweeper=tpe -m a=interval(0,1) b=x,y hydra.sweeper.objective=volume_iou`.

Killed, it goes on in its folder (hydra.sweep.dir=…) up to `trials` in all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from threestudio_like.run import jobs, search
from threestudio_like.run.errors import UserError, hint
from threestudio_like.run.search import Search
from threestudio_like.run.summary import check_objective
from threestudio_like.run.sweeper import Batch, Jobs


class TPE(Jobs):
    """trials: in all, with those of earlier processes. search, pruning: of run/search.py, pruning.py."""

    def __init__(self, *, trials: int, search: DictConfig, pruning: DictConfig, **settings: Any) -> None:
        super().__init__(**settings)
        if self.objective is None:
            word = "a number of metrics.json to seek, such as volume_iou"
            raise UserError(f"hydra.sweeper.objective: not set; expected {word}")
        for name, count in {"trials": trials, "search.jobs": search.jobs}.items():
            if count < 1:
                raise UserError(f"hydra.sweeper.{name}: at least 1, not {count}")
        self.trials, self.pruning = trials, pruning
        self.search = Search(search.seed, search.startup, search.jobs)

    def batches(self, overrides: list[Override]) -> Iterator[tuple[int, Batch]]:
        """As many jobs at a time as may run at once; each knows what came of those before it."""
        assert self.objective is not None
        varied = search.space(overrides)
        if not varied:
            raise UserError("hydra/sweeper=tpe: nothing varies; write key=interval(low,high) or key=a,b")
        fixed = [each.input_line or "" for each in overrides if not each.is_sweep_override()]
        checked = False
        opened = search.opened(self.folder, self.direction, self.search)
        before = jobs.settled(self.folder)
        check_objective(self.objective, before)
        search.caught_up(opened, before, self.objective)
        while (left := self.trials - search.num_done(opened)) > 0:
            trials = [search.asked(opened, varied) for _ in range(min(self.search.jobs, left))]
            batch = [[*fixed, *(f"{key}={value}" for key, value in t.params.items())] for t in trials]
            checked = checked or self.check(batch[0])
            yield trials[0].number, batch
            found = {job.number: job for job in jobs.read(self.folder)}
            check_objective(self.objective, list(found.values()))  # first: a typo is no failed trial
            for trial in trials:
                search.told(opened, trial.number, found[trial.number], self.objective)

    def check(self, words: list[str]) -> bool:
        """True, or what would fail in every trial: processes that know no trials, a stage of no name."""
        assert self.hydra_context is not None and self.config is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, words)
        for name, stage in config.stages.items():
            devices, strategy = stage.trainer.get("devices"), str(stage.trainer.get("strategy"))
            if devices != 1 and strategy in ("ddp", "auto", "ddp_find_unused_parameters_true"):
                word = "processes of other devices would not know the trials"
                raise UserError(f"stages.{name}.trainer.devices: {word}; expected 1 in a sweep by tpe")
        if self.pruning.stage is not None and self.pruning.stage not in config.stages:
            word = f"no stage {self.pruning.stage!r}{hint(self.pruning.stage, map(str, config.stages))}"
            raise UserError(f"hydra.sweeper.pruning.stage: {word}")
        return True
