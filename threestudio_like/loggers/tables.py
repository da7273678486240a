"""Metrics as lines of JSON, <stage>/metrics.jsonl: readable by eye, by pandas and by the next process."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from threestudio_like.files import append


class Lines(Logger):
    """One line for each logged step; a resumed run goes on in the same file."""

    def __init__(self, *, save_dir: str) -> None:
        super().__init__()
        self.file = Path(save_dir) / "metrics.jsonl"

    @property
    def name(self) -> str:
        """Of no use to us; Lightning asks."""
        return "lines"

    @property
    def version(self) -> str:
        """The same."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """They are in config.yaml."""

    def log_result(self, *args: Any) -> None:
        """They are in the run's metrics.json."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append."""
        append(self.file, json.dumps({"step": step, **metrics}) + "\n")
