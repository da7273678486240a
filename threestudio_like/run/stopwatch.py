"""Where the time and the memory of a step go: rendering, encoding, denoising, the backward pass.

A stage under `trainer@stages.NAME.trainer=profile` works for some steps, prints a table and leaves it in
profile.json. Peaks by part are CUDA's; of the whole there is also the process's own, which does not
come down between stages: profile one at a time (`plan=[NAME]`).
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from threestudio_like.files import write
from threestudio_like.priors.base import Borrower, Prior

log = logging.getLogger(__name__)
GIB = 2**30
BETWEEN = "between"  # two steps: nothing that happens there is timed


def resident() -> int:
    """The most bytes of memory that this process has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Profile(Callback):
    """Ends its stage after `steps` steps; the first, in which kernels are compiled, does not count.

    Nor does what happens between two steps: fetching the batch, drawing pictures, logging.
    """

    def __init__(self, *, steps: int) -> None:
        if steps < 2:
            raise ValueError(f"steps: at least 2, not {steps}; the first does not count")
        self.steps = steps
        self.seconds: dict[str, list[float]] = {}
        self.peaks: dict[str, float] = {}
        self.most = 0.0  # CUDA's, of the steps that count
        self.within: str | None = BETWEEN
        self.since = 0.0
        self.begun = 0.0  # this step
        self.first = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Watch the renderer and every prior."""
        self.first = trainer.global_step
        for name, module in pl_module.named_modules():
            if name == "renderer":
                module.forward = self.timed("render", module.forward)
            for prior in {module, module.prior} if isinstance(module, Borrower) else set():
                if isinstance(prior, Prior):
                    for part, call in (("encode", prior.encode), ("denoise", prior.predict)):
                        setattr(prior, call.__name__, self.timed(part, call))

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, with its time noted; what is called inside counts for the outermost."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            if self.within is not None:
                return call(*args, **kwargs)
            self.begin(part)
            try:
                return call(*args, **kwargs)
            finally:
                self.end(part)

        return watched

    def begin(self, part: str) -> None:
        """From here on it is this part's."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            self.peak()
        self.within, self.since = part, time.monotonic()

    def end(self, part: str) -> None:
        """To here it was."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            self.peaks[part] = max(self.peaks.get(part, 0.0), self.peak())
        self.seconds.setdefault(part, []).append(time.monotonic() - self.since)
        self.within = None

    def peak(self) -> float:
        """CUDA's since the last call, GiB."""
        found = torch.cuda.max_memory_allocated() / GIB
        torch.cuda.reset_peak_memory_stats()
        self.most = max(self.most, found)
        return found

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Any) -> None:
        """The backward pass begins."""
        self.begin("backward")

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The backward pass is over."""
        self.end("backward")

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Forget the first step, and what came between."""
        if trainer.global_step - self.first == 1:
            self.seconds.clear()
            self.peaks.clear()
            self.most = 0.0
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self.within, self.begun = None, time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop after the last; Lightning calls this before the system's own, which draws."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            self.peak()
        self.seconds.setdefault("whole", []).append(time.monotonic() - self.begun)
        self.within = BETWEEN
        trainer.should_stop = trainer.should_stop or trainer.global_step - self.first >= self.steps

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say it, and leave it in the stage's folder."""
        counted = trainer.global_step - self.first - 1
        peaks = {**self.peaks, "whole": self.most} if torch.cuda.is_available() else {}
        rows = {part: row(spent, counted, peaks.get(part)) for part, spent in self.seconds.items()}
        rows["whole"]["resident_gib"] = resident() / GIB
        for part, values in rows.items():
            peak = f", {values['peak_gib']:.2f} GiB at most" if "peak_gib" in values else ""
            log.info("%s: %.4f s a step in %.2g calls%s", part, values["seconds"], values["calls"], peak)
        log.info("the process has held %.2f GiB of memory at most", rows["whole"]["resident_gib"])
        if trainer.is_global_zero:
            write(Path(trainer.default_root_dir) / "profile.json", json.dumps(rows, indent=2) + "\n")


def row(spent: list[float], steps: int, peak: float | None) -> dict[str, float]:
    """Of one part: calls and seconds a step, and its peak if known."""
    values = {"calls": len(spent) / steps, "seconds": sum(spent) / steps}
    return values if peak is None else values | {"peak_gib": peak}
