"""Base of systems that train nothing: each step looks at something, and what was found is shown and written.

Lightning counts steps by an optimiser's; here it moves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from threestudio_like import files
from threestudio_like.loggers.images import show


class Observe(LightningModule):
    """A subclass's training step ends with `tick`."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def configure_optimizers(self) -> Optimizer:
        """The clock."""
        return SGD([nn.Parameter(torch.zeros(()))], lr=0.0)

    def tick(self) -> None:
        """One step is done."""
        self.optimizers().step()  # type: ignore[union-attr]

    @property
    def folder(self) -> Path:
        """The stage's."""
        return Path(self.trainer.default_root_dir)

    def show(self, name: str, picture: Float[Tensor, "H W 3"], step: int, enlarged: int) -> None:
        """As a picture of this stage, each pixel `enlarged` times as wide and as high."""
        large = picture.repeat_interleave(enlarged, 0).repeat_interleave(enlarged, 1)
        show({name: large}, step + 1, self.folder, self.loggers)

    def report(self, name: str, found: Mapping[str, Any]) -> None:
        """As a JSON file of this stage."""
        files.write(self.folder / name, json.dumps(found, indent=2) + "\n")
