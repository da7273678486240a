"""Pictures of a running stage: one PNG a name in <stage>/images/, and the dashboards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from threestudio_like.files import replacing


def show(
    pictures: Mapping[str, Float[Tensor, "H W 3"]], step: int, folder: str | Path, loggers: Iterable[Any]
) -> None:
    """Write each picture as images/<name>-<step>.png, and to every logger that takes pictures."""
    for name, picture in pictures.items():
        pixels = to_bytes(picture)
        with replacing(Path(folder) / "images" / f"{name}-{step:06d}.png") as partial:
            Image.fromarray(pixels.numpy()).save(partial)
        for logger in loggers:
            if hasattr(logger, "log_image"):  # wandb
                logger.log_image(name, [pixels.numpy()], step=step)
            elif hasattr(getattr(logger, "experiment", None), "add_image"):  # TensorBoard
                logger.experiment.add_image(name, pixels, step, dataformats="HWC")


def to_bytes(picture: Float[Tensor, "H W C"]) -> UInt8[Tensor, "H W C"]:
    """[0, 1] to 0..255, rounded."""
    return (picture.detach().clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def row(pictures: Iterable[Float[Tensor, "H _ C"]]) -> Float[Tensor, "H sum C"]:
    """Side by side."""
    return torch.cat(list(pictures), dim=1)


def column(pictures: Iterable[Float[Tensor, "_ W C"]]) -> Float[Tensor, "sum W C"]:
    """One above the other."""
    return torch.cat(list(pictures), dim=0)
