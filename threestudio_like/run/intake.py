"""input.png of a run's folder: what the system saw, before anything is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from threestudio_like.export.turntable import write_png

NAME = "input.png"


def remember(data: Any, folder: Path) -> None:
    """The prepared picture on white and, beside it, its matte; nothing for data that has no one picture."""
    master = getattr(data, "master", None)
    if master is None:
        return
    rgb, alpha = master[..., :3], master[..., 3:]
    write_png(folder / NAME, torch.cat([rgb * alpha + 1 - alpha, alpha.expand_as(rgb)], dim=1))
