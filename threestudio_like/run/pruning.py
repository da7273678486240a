"""In a sweep's job: tells the study a number of the running stage, and gives the run up when it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from threestudio_like.run import jobs, search
from threestudio_like.run.errors import UserError, hint

if TYPE_CHECKING:
    from optuna import Trial


class Pruning(Callback):
    """trial: Optuna's. metric: of those that the stage logs. sign: -1 where the study seeks the other end."""

    def __init__(self, *, trial: Trial, metric: str, sign: int, every: int) -> None:
        self.trial, self.metric, self.sign, self.every = trial, metric, sign, every
        self.seen = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell, and ask."""
        value = trainer.callback_metrics.get(self.metric)
        if value is None or trainer.global_step % self.every:
            return
        self.seen = True
        self.trial.report(self.sign * float(value), trainer.global_step)
        if self.trial.should_prune():
            text = f"{self.metric} {float(value):.4g} at step {trainer.global_step}: the median was better"
            raise jobs.Pruned(text)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A name that was never logged is a typo."""
        if not self.seen and trainer.global_step >= self.every:
            near = hint(self.metric, trainer.callback_metrics)
            raise UserError(f"hydra.sweeper.pruning.metric: the stage logs no {self.metric!r}{near}")


def watch(trainer: Trainer, stage: str, plan: list[str]) -> None:
    """Add it to the trainer where this process runs a trial of a study that prunes, at the stage to watch."""
    place = jobs.here()
    settings = HydraConfig.get().sweeper.get("pruning") if place else None
    if place is None or settings is None or settings.metric is None or stage != (settings.stage or plan[0]):
        return
    pruner = search.optuna().pruners.MedianPruner(
        n_startup_trials=settings.startup, n_warmup_steps=settings.warmup, interval_steps=settings.every
    )
    sweep, number = place
    loaded = search.optuna().load_study(study_name=search.NAME, storage=search.place(sweep), pruner=pruner)
    trial = search.optuna().trial.Trial(loaded, loaded.get_trials(deepcopy=False)[number]._trial_id)
    same = settings.direction == HydraConfig.get().sweeper.direction
    trainer.callbacks.append(  # type: ignore[attr-defined]
        Pruning(trial=trial, metric=settings.metric, sign=1 if same else -1, every=settings.every)
    )
