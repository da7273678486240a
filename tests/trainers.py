"""A trainer of Lightning's for a test: it says nothing and keeps nothing."""

from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer


def quiet(folder: Path, steps: int = 1, **settings: Any) -> Trainer:
    """On the CPU, with its files in `folder`."""
    return Trainer(
        accelerator="cpu",
        max_steps=steps,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
