"""Checkpoints that are whole or absent, and a Ctrl-C that waits for the end of the step."""

from __future__ import annotations

import os
import signal
import textwrap
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

from threestudio_like.data.stream import ends_step
from threestudio_like.files import replacing
from threestudio_like.ranges import Count
from threestudio_like.run.again import began
from threestudio_like.run.digest import digest
from threestudio_like.run.errors import UserError, joined, one_line

STRANGE = ("Error(s) in loading state_dict", "loaded state dict")  # how torch's complaints begin
DIGEST = "digest"  # of all else in the file
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
            torch.save({**checkpoint, DIGEST: digest(checkpoint)}, file)

    def load_checkpoint(self, path: str | Path, *args: Any, **settings: Any) -> dict[str, Any]:
        """Plain values only, as they were written; whatever else is in the file is not run.

        UserError: one line that names the file.
        """
        if not Path(path).is_file():  # a pipe would be waited for
            raise not_whole(path, "no file")
        try:
            found = super().load_checkpoint(path, *args, **settings)
            problem = wrong_in(found)
        except Exception as error:  # damaged bytes, and tensors of no values, end their reader in any error
            raise not_whole(path, "it cannot be read") from error
        if problem:
            raise not_whole(path, problem)
        return found


def not_whole(path: str | os.PathLike[str], problem: str) -> UserError:
    """What to say of a file that nothing can go on from."""
    return UserError(f"resume: {path}: not a whole checkpoint ({problem}); {AWAY}")


def other_parts(path: str | os.PathLike[str], problem: str) -> UserError:
    """What to say of a file that another stage can go on from."""
    return UserError(f"resume: {path}: of a stage with other parts ({problem}); {AWAY}")


def wrong_in(found: Any) -> str:
    """Why nothing may go on from what was read; empty if nothing is wrong.

    Lightning would go on from moments of any kind, from counts of other steps, or without them.
    """
    if not isinstance(found, dict) or DIGEST not in found:
        return "no stage wrote it"
    if found[DIGEST] != digest({name: value for name, value in found.items() if name != DIGEST}):
        return "it was changed after it was written"
    for name in ("state_dict", "optimizer_states"):
        for key, tensor in tensors(found[name], name):
            if not torch.isfinite(tensor).all():
                return f"{key} is not finite"
    return ""


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
        self.owner: list[str] = []
        self._since = time.monotonic()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Whose checkpoints these are: when the run began, and the name of its stage."""
        folder = Path(trainer.default_root_dir)
        self.owner = [began(folder.parent), folder.name]

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse what another run, or another stage, has left: its settings may be others."""
        if checkpoint["callbacks"].get(self.state_key, {}).get("owner") != self.owner:
            file = path(trainer.default_root_dir)
            raise UserError(f"resume: {file}: of another run, or of another of its stages; {AWAY}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The clock starts where the loaded checkpoint stopped, if it was one of such a stage."""
        for optimizer in trainer.optimizers:
            kind = type(
                optimizer
            ).__name__  # torch takes another one's settings, and misses its own at the step
            for group in optimizer.param_groups:
                if lacking := optimizer.defaults.keys() - group.keys():
                    raise other_parts(path(trainer.default_root_dir), f"no {min(lacking)!r} for {kind}")
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
        return {"seconds": self.seconds, "owner": self.owner}

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
            # Python's own, as the one before may pass over it: in the background of a script
            signal.signal(signal.SIGINT, signal.default_int_handler)

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
        raise other_parts(file, textwrap.shorten(first, 200, placeholder=" ...")) from error


def restoring(error: BaseException) -> bool:
    """Whether it was raised while Lightning restored a checkpoint."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [frame.f_code.co_name for frame in frames if frame.f_globals.get("__name__") == RESTORING]
    return any(name.lstrip("_").startswith("restore") for name in names)


def path(stage: str | os.PathLike[str]) -> Path:
    """Where a stage's checkpoint is."""
    return Path(stage) / "checkpoints" / "last.ckpt"


def to_go_on_from(stage: str | os.PathLike[str]) -> str | None:
    """A stage's checkpoint if there is one, or a link that leads nowhere, which is no new beginning."""
    file = path(stage)
    astray = os.path.lexists(file.parent) and not file.parent.is_dir()
    return str(file) if os.path.lexists(file) or astray else None
