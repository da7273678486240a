"""The bar in a terminal, and the lines where there is none."""

import io

import torch
from pytorch_lightning import LightningModule, Trainer
from rich.console import Console

from threestudio_like.loggers.console import Bar, clock


class Told(Trainer):
    """A trainer that says what it is told to."""

    global_step = 0
    max_steps = 20
    accumulate_grad_batches = 1
    default_root_dir = "outputs/run/coarse"
    progress_bar_metrics = {"loss": torch.tensor(0.25), "loss/rgb": torch.tensor(0.125)}

    def __init__(self, step: int) -> None:
        self.global_step = step


def watched(bar: Bar, *, first: int, last: int) -> str:
    """What steps first..last of 20 print."""
    trainer, module = Told(first), LightningModule()
    bar.on_train_start(trainer, module)
    for trainer.global_step in range(first + 1, last + 1):
        bar.on_train_batch_end(trainer, module, None, None, 0)
    bar.on_train_end(trainer, module)
    assert isinstance(bar.console.file, io.StringIO)
    return bar.console.file.getvalue()


def test_lines_without_a_terminal() -> None:
    bar = Bar(lines=4)
    bar.console = Console(file=io.StringIO(), force_terminal=False)
    lines = watched(bar, first=0, last=20).splitlines()
    assert [line.split()[1] for line in lines] == ["5/20", "10/20", "15/20", "20/20"]
    assert lines[0].startswith("coarse") and lines[0].endswith("loss 0.25  rgb 0.125")


def test_bar_in_a_terminal_goes_on_after_a_resume() -> None:
    bar = Bar(lines=4)
    bar.console = Console(file=io.StringIO(), force_terminal=True, width=120)
    shown = watched(bar, first=12, last=20)
    assert "coarse" in shown and "20/20" in shown and "rgb 0.125" in shown and bar.progress is None


def test_other_processes_are_silent() -> None:
    bar = Bar(lines=4)
    bar.disable()
    bar.console.file = io.StringIO()
    assert watched(bar, first=0, last=20) == ""


def test_clock() -> None:
    assert [clock(0.9), clock(61.0), clock(3600.0)] == ["0:00", "1:01", "60:00"]
