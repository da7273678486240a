"""Steps whose loss or gradient is not finite are not taken.

The clock goes on: such a step moves nothing, neither parameters nor an optimiser's memory of them, and the
next one has other random numbers. Under a GradScaler an overflow is how its scale is found, and is no mishap.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from threestudio_like.run.errors import UserError

HINT = "a smaller learning rate or weight may help"

log = logging.getLogger(__name__)


class Guard(Callback):
    """Skips and counts what is not finite.

    patience: so many such steps in a row, and the run stops, with the name of what was not finite.
    """

    def __init__(self, *, patience: int) -> None:
        if patience < 1:
            raise ValueError(f"patience: expected at least 1, got {patience}")
        self.patience = patience
        self.skipped = 0  # in all
        self.row = 0  # without a finite one between them
        self.terms: list[dict[str, Tensor]] = []  # of the parts of this step

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Keep what the loss is made of: a step that accumulates gradients has several."""
        terms = getattr(pl_module, "weighted", {})
        self.terms.append({**terms, "loss": loss.detach()})

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Look, before gradients are clipped: a clipped infinity would pass for a number."""
        terms, self.terms = self.terms, []
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        sound = finite(value for part in terms for value in part.values())
        searching = scaler is not None and scaler.get_scale() > 1 and sound
        bad = not sound or not finite(p.grad for p in parameters)
        # of several processes all must skip, or none: gradients are their mean, but each has its own loss
        if not trainer.strategy.reduce_boolean_decision(bad and not searching, all=False):
            self.row = 0 if not bad else self.row
            return
        self.skipped, self.row = self.skipped + 1, self.row + 1
        step, name = trainer.global_step, culprit(terms, pl_module)
        for parameter in parameters:
            parameter.grad = None  # an optimiser passes over it; a zero would still move its averages
        if self.row >= self.patience:
            times = f"{self.row} steps in a row" if self.row > 1 else "and none may be skipped"
            hint = f"{HINT}; the last checkpoint is kept"
            raise UserError(f"{at(trainer)}: step {step}: {name} is not finite, {times}; {hint}")
        log.warning("step %d: %s is not finite; skipped", step, name)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """No step follows that would show what the last one did."""
        for name, parameter in pl_module.named_parameters():
            if not finite([parameter]):
                raise UserError(f"{at(trainer)}: {name!r} is not finite after the last step; {HINT}")

    def state_dict(self) -> dict[str, Any]:
        """Counts go on when a run does."""
        return {"skipped": self.skipped, "row": self.row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of the process before."""
        self.skipped, self.row = state_dict["skipped"], state_dict["row"]


def at(trainer: Trainer) -> str:
    """The key of the stage."""
    return f"stages.{Path(trainer.default_root_dir).name}"


def finite(tensors: Iterable[Tensor | None]) -> bool:
    """Whether every element is; one wait for the device, as a rule."""
    found = [tensor.detach() for tensor in tensors if tensor is not None and tensor.numel()]
    if not found:
        return True
    # quick, and sure where the sums are finite; those of large numbers may overflow
    if bool(torch.isfinite(torch.stack([tensor.sum().float() for tensor in found])).all()):
        return True
    return all(bool(torch.isfinite(tensor).all()) for tensor in found)


def culprit(terms: list[dict[str, Tensor]], pl_module: LightningModule) -> str:
    """What to name: a loss, or else a parameter whose gradient it is."""
    for part in terms:
        for name, value in part.items():
            if not bool(torch.isfinite(value).all()):
                return "the loss" if name == "loss" else f"the loss {name!r}"
    for name, parameter in pl_module.named_parameters():
        if parameter.grad is not None and not finite([parameter.grad]):
            return f"the gradient of {name!r}"
    return "another process's loss"
