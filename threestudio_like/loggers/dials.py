"""What a running stage is set to: its weights, schedules, learning rates; and the load of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psutil
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from threestudio_like.schedule.anneal import Schedule


class Dials(Callback):
    """Written with the losses, at the steps that Lightning logs.

    schedules: by name; the run sets them, from the stage's configuration. machine: whether to tell its load.
    """

    def __init__(self, *, machine: bool) -> None:
        self.machine = machine
        self.schedules: Mapping[str, Schedule] = {}
        self.process = psutil.Process()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Loads are since the last look; this is the first."""
        self.process.cpu_percent()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell every logger; the step is the one that was just made, as Lightning counts."""
        done = trainer.global_step
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if done == 0 or done % every or not trainer.is_global_zero:
            return
        step = done - 1
        read = {**weights(pl_module, step), **rates(trainer)}
        read |= {f"schedule/{name}": float(schedule(step)) for name, schedule in self.schedules.items()}
        read |= load(self.process) if self.machine else {}
        for logger in trainer.loggers:
            logger.log_metrics(read, step)


def weights(system: LightningModule, step: int) -> dict[str, float]:
    """Of the losses, at a step."""
    known = getattr(system, "weights", {})
    if not isinstance(known, Mapping):
        return {}
    return {f"weight/{name}": float(weight(step)) for name, weight in known.items() if callable(weight)}


def rates(trainer: Trainer) -> dict[str, float]:
    """The learning rate of each group of parameters."""
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    return {f"lr/{group.get('name', index)}": float(group["lr"]) for index, group in enumerate(groups)}


def load(process: psutil.Process) -> dict[str, float]:
    """Processors and memory, in percent and gigabytes; of the GPU too, where there is one."""
    memory = psutil.virtual_memory()
    found = {
        "system/cpu_percent": psutil.cpu_percent(),
        "system/process_cpu_percent": process.cpu_percent(),
        "system/process_memory_gb": process.memory_info().rss / 1e9,
        "system/memory_percent": memory.percent,
    }
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        found["system/gpu_memory_percent"] = 100 * (1 - free / total)
        found["system/gpu_process_memory_gb"] = torch.cuda.memory_allocated() / 1e9
    return found
