"""A run is given up when the study says so, and only then."""

from unittest.mock import Mock

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from threestudio_like.run.errors import UserError
from threestudio_like.run.jobs import Pruned
from threestudio_like.run.pruning import Pruning


class Trial:
    """Gives up at the first value below a bound."""

    def __init__(self) -> None:
        self.told: list[tuple[float, int]] = []

    def report(self, value: float, step: int) -> None:
        self.told.append((value, step))

    def should_prune(self) -> bool:
        return self.told[-1][0] < -3


def looked(callback: Pruning, step: int, **metrics: float) -> None:
    logged = {name: torch.tensor(value) for name, value in metrics.items()}
    trainer = Mock(spec=Trainer, global_step=step, callback_metrics=logged)
    callback.on_train_batch_end(trainer, LightningModule(), None, None, 0)
    if step == 9:
        callback.on_train_end(trainer, LightningModule())


def test_it_tells_what_the_study_seeks_and_gives_up() -> None:
    trial = Trial()
    callback = Pruning(trial=trial, metric="loss", sign=-1, every=2)
    for step, loss in ((1, 9.0), (2, 2.0), (3, 9.0), (4, 1.5)):
        looked(callback, step, loss=loss)
    with pytest.raises(Pruned, match="loss 4 at step 6"):
        looked(callback, 6, loss=4.0)
    assert trial.told == [(-2.0, 2), (-1.5, 4), (-4.0, 6)]


def test_a_metric_that_is_never_logged() -> None:
    callback = Pruning(trial=Trial(), metric="los", sign=1, every=3)
    looked(callback, 3, loss=1.0)
    with pytest.raises(UserError, match=r"pruning.metric: the stage logs no 'los'; did you mean 'loss'\?"):
        looked(callback, 9, loss=1.0)
