"""Seconds of a stage's steps, from a few real ones spread over its schedule; nothing is kept of them.

What a step costs depends on where it is in the schedule: guidance alternates with reference steps, pictures
grow, networks are trained in cycles. So short stretches are timed at places over the whole of it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pytorch_lightning import Callback, LightningModule, Trainer

from threestudio_like.run.stages import trainer_of

STRETCHES, STEPS = 4, 4  # places, and steps at each; the first step of a place is not counted
PATIENCE = 60.0  # seconds, after which no more of them are begun
GOLDEN = 0.618  # its multiples fall evenly between any two periods
ALONE = {"devices": 1, "num_nodes": 1, "strategy": "auto", "enable_checkpointing": False}
QUIET = {"logger": {}, "callbacks": {}, "enable_progress_bar": False, "limit_val_batches": 0}


class Cost(NamedTuple):
    """Of one stage."""

    seconds: float  # a step, on average
    drawing: float  # seconds, once in `draw_every` steps
    timed: int  # steps
    steps: int  # in all
    total: float  # seconds of the stage


class Stretches(Callback):
    """Moves the trainer's step on between its epochs, and looks at the clock after every step."""

    def __init__(self, places: list[int]) -> None:
        self.places = places
        self.spent: list[float] = []
        self.drawing = 0.0
        self.began = self.last = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pictures are drawn once, by this, and not when they are due."""
        self.began = self.last = time.monotonic()
        self.draw, pl_module.draw = getattr(pl_module, "draw", None), lambda batch: None  # type: ignore

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """From the end of one step to the end of the next: its data, too."""
        now = time.monotonic()
        if batch_idx:
            self.spent.append(now - self.last)
        if not batch_idx and not self.drawing and self.draw:
            self.draw(batch)
            self.drawing = time.monotonic() - now
        self.last = time.monotonic()
        trainer.should_stop = bool(self.spent) and self.last - self.began > PATIENCE

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The next place."""
        if trainer.current_epoch + 1 < len(self.places):
            loop = trainer.fit_loop.epoch_loop  # as a checkpoint would: the step is what these count
            place = self.places[trainer.current_epoch + 1]
            loop.automatic_optimization.optim_progress.optimizer.step.total.completed = place
            loop.manual_optimization.optim_step_progress.total.completed = place


def places(steps: int) -> list[int]:
    """Where stretches begin; a short stage is run whole."""
    if steps <= 2 * STRETCHES * STEPS:
        return [0]
    free = steps - STEPS
    return [0] + [int((i + i * GOLDEN % 1) * free / STRETCHES) for i in range(1, STRETCHES)]


def cost(node: Mapping[str, Any], key: str, system: LightningModule, data: Any, folder: Path) -> Cost:
    """Run the steps on one device, in `folder`, which is the caller's to remove."""
    steps = node["max_steps"]
    begins = places(steps)
    watch = Stretches(begins)
    alone = {name: value for name, value in ALONE.items() if name in node or name == "enable_checkpointing"}
    several = {"limit_train_batches": STEPS if len(begins) > 1 else 1.0, "max_epochs": len(begins)}
    again = {"reload_dataloaders_every_n_epochs": 1}
    trainer = trainer_of({**node, **alone, **QUIET, **several, **again}, key, folder)
    trainer.callbacks.append(watch)  # type: ignore[attr-defined]
    trainer.fit(system, datamodule=data)
    spent = watch.spent or [time.monotonic() - watch.began]
    mean = sum(spent) / len(spent)
    drawn = 1 + steps // getattr(system, "draw_every", steps) if watch.drawing else 0
    return Cost(mean, watch.drawing, len(watch.spent), steps, mean * steps + drawn * watch.drawing)
