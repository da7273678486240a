"""One bar a stage: steps, time left, losses; in a log file or a pipe a line now and then instead."""

from __future__ import annotations

import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from threestudio_like.ranges import Count

REFRESH = 0.2  # seconds between looks at the losses, which may wait for a device


class Bar(ProgressBar):
    """Lightning's own bars know no end for endless data; `max_steps` is the end.

    lines: how many lines a stage prints where there is no terminal.
    """

    def __init__(self, *, lines: Count) -> None:
        super().__init__()
        self.lines = lines
        self.console = Console()
        self.progress: Progress | None = None
        self.first = 0
        self.began = self.looked = 0.0

    def disable(self) -> None:
        """Lightning silences the bars of all processes but the first."""
        self.console = Console(quiet=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin where a loaded checkpoint stopped."""
        self.first, self.began = trainer.global_step, time.monotonic()
        if self.console.is_terminal and not self.console.quiet:
            counted = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn())
            timed = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
            shown = (*counted, *timed, TextColumn("{task.fields[losses]}"))
            self.progress = Progress(*shown, console=self.console, speed_estimate_period=60)
            self.progress.add_task(title(trainer), total=trainer.max_steps, completed=self.first, losses="")
            self.progress.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move on, when a step is done: one that adds up gradients has several batches."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        step, end = trainer.global_step, trainer.max_steps
        if self.progress is None:
            every = max(1, end // self.lines)
            if step % every == 0 or step == end:
                self.console.print(Text(self.line(trainer)), soft_wrap=True)
        elif time.monotonic() - self.looked > REFRESH or step == end:
            self.looked = time.monotonic()
            self.progress.update(self.progress.task_ids[0], completed=step, losses=losses(trainer))

    def line(self, trainer: Trainer) -> str:
        """What the bar would show now."""
        step, end = trainer.global_step, trainer.max_steps
        spent = time.monotonic() - self.began
        left = spent / max(1, step - self.first) * (end - step)
        return f"{title(trainer)}  {step}/{end}  {clock(spent)} spent, {clock(left)} left  {losses(trainer)}"

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the full bar on the screen."""
        self.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        self.close()

    def close(self) -> None:
        """Stop drawing."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None


def title(trainer: Trainer) -> str:
    """The stage's name: its folder's."""
    return str(trainer.default_root_dir).rstrip("/").rpartition("/")[2]


def losses(trainer: Trainer) -> str:
    """`loss 0.12  rgb 0.03`."""
    shown = {name.removeprefix("loss/"): float(value) for name, value in trainer.progress_bar_metrics.items()}
    return "  ".join(f"{name} {value:.3g}" for name, value in shown.items())


def clock(seconds: float) -> str:
    """m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
