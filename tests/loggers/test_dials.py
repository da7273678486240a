"""Weights and schedules at the step that was made, and the load of this machine."""

from unittest.mock import Mock

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from threestudio_like.loggers.dials import Dials
from threestudio_like.schedule.anneal import constant, every, linear


class System(LightningModule):
    weights = {"rgb": every(value=8.0, period=2, begin=0, until=1), "mask": constant(value=3.0)}


def told(dials: Dials, system: LightningModule, done: int, *, first: bool = True) -> list:
    """What a logger is told after `done` steps, where every fifth is logged."""
    logger = Mock()
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [
        {"params": [parameters[0]], "lr": 0.5, "name": "geometry"},
        {"params": [parameters[1]], "lr": 0.1},
    ]
    spoken = {"global_step": done, "log_every_n_steps": 5, "is_global_zero": first, "loggers": [logger]}
    trainer = Mock(spec=Trainer, optimizers=[torch.optim.SGD(groups)], **spoken)
    dials.on_train_start(trainer, system)
    dials.on_train_batch_end(trainer, system, None, None, 0)
    return [call.args for call in logger.log_metrics.call_args_list]


@pytest.mark.parametrize(("done", "rgb", "level"), [(5, 8.0, 0.9 - 0.4 * 4 / 8), (10, 0.0, 0.5)])
def test_settings_of_the_step(done: int, rgb: float, level: float) -> None:
    dials = Dials(machine=False)
    dials.schedules = {"system.guidance.levels.high": linear(start=0.9, end=0.5, begin=0, until=8)}
    ((read, step),) = told(dials, System(), done)
    assert step == done - 1
    assert read == {
        "weight/rgb": rgb,
        "weight/mask": 3.0,
        "lr/geometry": 0.5,
        "lr/1": 0.1,
        "schedule/system.guidance.levels.high": pytest.approx(level),
    }


def test_only_at_logged_steps_and_by_the_first_process() -> None:
    assert told(Dials(machine=True), System(), 7) == [] == told(Dials(machine=True), System(), 5, first=False)


def test_the_load_of_this_machine() -> None:
    ((read, _),) = told(Dials(machine=True), LightningModule(), 5)
    assert not any(name.startswith("weight/") for name in read)
    assert 0 <= read["system/cpu_percent"] <= 100 and 0 < read["system/memory_percent"] <= 100
    assert 0.05 < read["system/process_memory_gb"] < 100
    assert ("system/gpu_memory_percent" in read) == torch.cuda.is_available()
