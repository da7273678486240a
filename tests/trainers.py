"""A trainer of Lightning's for a test: it says nothing and keeps nothing."""

from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer


def quiet(folder: Path, steps: int = 1, **settings: Any) -> Trainer:
    """On the CPU, with its files in `folder`; settings may be other ones."""
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    values = {**dict.fromkeys(off, False), "accelerator": "cpu", **settings}
    return Trainer(max_steps=steps, default_root_dir=folder, **values)
