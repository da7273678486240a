"""Checkpoints that are whole or absent, and a Ctrl-C that waits for the end of the step."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from torch.optim import Optimizer

from threestudio_like.data.stream import ends_step
from threestudio_like.files import replacing
from threestudio_like.ranges import Count
from threestudio_like.run import optimizers
from threestudio_like.run.composition import leaves
from threestudio_like.run.errors import UserError, joined, one_line
from threestudio_like.run.guard import Guard

STRANGE = ("Error(s) in loading state_dict", "loaded state dict")  # how torch's complaints begin
# what Lightning goes on from: without one of them it cannot, and of some it would not look what they are
NEEDED = {
    "state_dict": dict,
    "global_step": int,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
}
PROGRESS = "epoch_loop.automatic_optimization.optim_progress"
COUNTED = ("global_step", "optimizer_states", "lr_schedulers")  # what Lightning does not compare
AWAY = "move it away, and the stage begins anew"
RESTORING = "pytorch_lightning.trainer.connectors.checkpoint_connector"


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
        if not Path(path).is_file():  # a pipe would be waited for
            raise not_whole(path, "no file")
        try:
            found = super().load_checkpoint(path, *args, **settings)
        except Exception as error:  # damaged bytes end the reader in errors of any kind
            raise not_whole(path, "it cannot be read") from error
        if problem := wrong_in(found):
            raise not_whole(path, problem)
        return found


def not_whole(path: str | os.PathLike[str], problem: str) -> UserError:
    """What to say of a file that nothing can go on from."""
    return UserError(f"resume: {path}: not a whole checkpoint ({problem}); {AWAY}")


def wrong_in(found: Any) -> str:
    """What a checkpoint lacks, or has of the wrong kind, before anything takes it; empty if nothing."""
    if not isinstance(found, dict):
        return "it holds no names"
    for name, kind in NEEDED.items():
        if not isinstance(found.get(name), kind) or isinstance(found[name], bool):
            return f"{name} is not of its kind" if name in found else f"no {name}"
    if found["global_step"] < 0:
        return "global_step is below 0"
    if finished_steps(found["loops"]) != found["global_step"]:
        return "its loops count other steps"
    for name in ("state_dict", "optimizer_states"):
        for key, tensor in tensors(found[name], name):
            if not torch.isfinite(tensor).all():
                return f"{key} is not finite"
    return ""


def finished_steps(loops: Any) -> Any:
    """Of the optimiser, as Lightning's loop counts them: what it ends by; None where it does not say."""
    for name in ("fit_loop", PROGRESS, "optimizer", "step", "total", "completed"):
        loops = loops.get(name) if isinstance(loops, dict) else None
    return loops


def tensors(tree: Any, key: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor in a tree, with its full key."""
    if isinstance(tree, torch.Tensor):
        yield key, tree
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in items:
        yield from tensors(value, joined(key, str(name)))


class Checkpoints(Checkpoint):
    """Keeps `<stage>/checkpoints/last.ckpt`, and the seconds of work that are in it."""

    def __init__(self, *, every: Count) -> None:
        self.every = every
        self.saved_at = 0
        self.interrupted = False
        self.seconds = 0.0
        self.loaded: list[int] | None = None  # what the checkpoint has of COUNTED
        self._since = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The clock starts where the loaded checkpoint stopped, if it had a state for everything."""
        own = [trainer.global_step, len(trainer.optimizers), len(trainer.lr_scheduler_configs)]
        for name, saved, here in zip(COUNTED, self.loaded or own, own, strict=True):
            if saved != here:
                raise not_whole(path(trainer.default_root_dir), f"{name}: {saved} in it, {here} in the stage")
        if self.loaded is not None:
            self.compare(trainer, pl_module)
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

    def compare(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The optimisers as they were loaded with new ones of this stage."""
        guards = [each for each in trainer.callbacks if isinstance(each, Guard)]  # type: ignore[attr-defined]
        steps = trainer.global_step - sum(guard.skipped for guard in guards)
        for index, optimizer in enumerate(trainer.optimizers):
            fresh = pl_module.configure_optimizers()
            if isinstance(fresh, Optimizer) and (problem := optimizers.wrong_in(optimizer, fresh, steps)):
                raise not_whole(path(trainer.default_root_dir), f"optimizer_states.{index}.{problem}")

    def rested(self, seconds: float) -> None:
        """Time that was a pause, and no work."""
        self._since += seconds

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep what Lightning passes over: callbacks and optimisers that have no state in it."""
        self.loaded = [checkpoint["global_step"], *(len(checkpoint[name]) for name in COUNTED[1:])]
        counts = dict(leaves(checkpoint["loops"], "loops"))
        for key, count in leaves(trainer.fit_loop.state_dict(), "loops.fit_loop"):
            if isinstance(count, int) and (type(counts.get(key)) is not type(count) or counts[key] < 0):
                raise not_whole(path(trainer.default_root_dir), f"{key} is not of its kind")
        own = checkpoint["callbacks"].get(self.state_key)
        if not isinstance(own, dict) or type(own.get("seconds")) not in (int, float):
            raise not_whole(path(trainer.default_root_dir), f"callbacks has no state of {self.state_key}")

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
    """What stops Lightning while it goes back to a checkpoint, in one line: other parts, or damage."""
    try:
        yield
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:  # what is wrong deep in a state ends its reader in errors of any kind
        if not restoring(error):
            raise
        if not str(error).startswith(STRANGE):
            raise not_whole(file, "a state in it cannot be taken") from error
        first = one_line("\n".join(str(error).splitlines()[1:2]) or error)
        raise UserError(f"resume: {file}: of a stage with other parts ({first[:200]}); {AWAY}") from error


def restoring(error: BaseException) -> bool:
    """Whether it was raised while Lightning restored a checkpoint."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [frame.f_code.co_name for frame in frames if frame.f_globals.get("__name__") == RESTORING]
    return any(name.lstrip("_").startswith("restore") for name in names)


def path(stage: str | os.PathLike[str]) -> Path:
    """Where a stage's checkpoint is."""
    return Path(stage) / "checkpoints" / "last.ckpt"
