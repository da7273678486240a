"""Checkpoints that are whole or absent, and a Ctrl-C that waits for the end of the step."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from threestudio_like.data.stream import ends_step
from threestudio_like.files import replacing
from threestudio_like.ranges import Count
from threestudio_like.run.errors import UserError, one_line

STRANGE = ("Error(s) in loading state_dict", "loaded state dict")  # how torch's complaints begin
# without them Lightning cannot go on
NEEDED = {"state_dict", "global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers"}


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning writes to $TMPDIR and moves, which a kill can leave half done on another file system."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Beside its place, flushed to disk, then renamed."""
        # given a path, torch would write that passing name into the file
        with replacing(Path(path)) as partial, open(partial, "wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: str | Path, *args: Any, **settings: Any) -> dict[str, Any]:
        """Plain values only; whatever else is in the file is not run, and refused in one line."""
        text = "not a whole checkpoint; move it away, and the stage begins anew"
        try:
            found = super().load_checkpoint(path, *args, **settings)
        except Exception as error:  # damaged bytes end the reader in errors of any kind
            raise UserError(f"resume: {path}: {text}") from error
        if not isinstance(found, dict) or not set(found) >= NEEDED:
            raise UserError(f"resume: {path}: {text}")
        return found


class Checkpoints(Checkpoint):
    """Keeps `<stage>/checkpoints/last.ckpt`, and the seconds of work that are in it."""

    def __init__(self, *, every: Count) -> None:
        self.every = every
        self.saved_at = 0
        self.interrupted = False
        self.seconds = 0.0
        self._since = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The clock starts where the loaded checkpoint stopped."""
        self.saved_at = trainer.global_step
        self._since = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is time, at the last step, and when asked to stop."""
        if not ends_step(trainer, batch_idx):
            return
        self.interrupted = trainer.strategy.reduce_boolean_decision(self.interrupted, all=False)
        trainer.should_stop = trainer.should_stop or self.interrupted
        done = trainer.global_step >= trainer.max_steps > 0
        if self.interrupted or done or trainer.global_step >= self.saved_at + self.every:
            now = time.monotonic()
            self.seconds, self._since = self.seconds + now - self._since, now
            self.saved_at = trainer.global_step
            trainer.save_checkpoint(path(trainer.default_root_dir))

    def rested(self, seconds: float) -> None:
        """Time that was a pause, and no work."""
        self._since += seconds

    def state_dict(self) -> dict[str, Any]:
        """Plain values only: checkpoints are loaded with weights_only."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The seconds that earlier processes spent."""
        self.seconds = state_dict["seconds"]

    @contextmanager
    def listening(self) -> Iterator[None]:
        """The first Ctrl-C ends the step and saves, as does SIGTERM; a second Ctrl-C stops at once."""

        def on_signal(number: int, frame: FrameType | None) -> None:
            if not self.interrupted:  # past Python's buffers: one of them may be in use just now
                os.write(2, b"\nstopping when this step is done and saved; once more, and it stops at once\n")
            self.interrupted = True
            signal.signal(signal.SIGINT, before[signal.SIGINT])

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        except SystemExit as error:  # what Lightning makes of either
            raise KeyboardInterrupt from error
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def loading(file: Path) -> Iterator[None]:
    """What torch says of a checkpoint whose parameters are not this stage's, in one line."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if not str(error).startswith(STRANGE):
            raise
        first = one_line("\n".join(str(error).splitlines()[1:2]) or error)
        text = f"of a stage with other parts ({first[:200]}); move it away, and the stage begins anew"
        raise UserError(f"resume: {file}: {text}") from error


def path(stage: str | os.PathLike[str]) -> Path:
    """Where a stage's checkpoint is."""
    return Path(stage) / "checkpoints" / "last.ckpt"
