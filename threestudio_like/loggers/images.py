"""Pictures of a running stage: one PNG a name in <stage>/images/, and the dashboards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from threestudio_like.files import replacing

CAPTION = 24  # pixels of a line above a picture


def show(
    pictures: Mapping[str, Float[Tensor, "H W 3"]], step: int, folder: str | Path, loggers: Iterable[Any]
) -> None:
    """Write each picture as images/<name>-<step>.png, and to every logger that takes pictures."""
    for name, picture in pictures.items():
        save(Path(folder) / "images" / f"{name}-{step:06d}.png", picture)
        for logger in loggers:
            if hasattr(logger, "log_image"):
                logger.log_image(name, [to_bytes(picture).numpy()], step=step)
            elif hasattr(getattr(logger, "experiment", None), "add_image"):  # Lightning's own TensorBoard
                logger.experiment.add_image(name, to_bytes(picture), step, dataformats="HWC")


def save(path: Path, picture: Float[Tensor, "H W 3"]) -> None:
    """As a PNG."""
    with replacing(path) as partial:
        Image.fromarray(to_bytes(picture).numpy()).save(partial)


def from_pillow(image: Image.Image) -> Float[Tensor, "H W 3"]:
    """In [0, 1]."""
    return torch.from_numpy(np.array(image.convert("RGB"), dtype=np.float32) / 255)


def opened(file: Path) -> Float[Tensor, "H W 3"]:
    """A picture from its file, in [0, 1]."""
    with Image.open(file, formats=["PNG"]) as image:
        return from_pillow(image)


def sheet(files: Mapping[str, Path], width: int) -> Float[Tensor, "H width 3"]:
    """Pictures one above the other, each `width` pixels wide at most, under its caption."""
    font = ImageFont.load_default(14)
    shown = {name: Image.open(file, formats=["PNG"]).convert("RGB") for name, file in files.items()}
    for image in shown.values():
        image.thumbnail((width, width))
    board = Image.new("RGB", (width, sum(image.height + CAPTION for image in shown.values())), "white")
    top = 0
    for name, image in shown.items():
        ImageDraw.Draw(board).text((4, top + CAPTION // 2), name, fill="black", font=font, anchor="lm")
        board.paste(image, (0, top + CAPTION))
        top += image.height + CAPTION
    return from_pillow(board)


def to_bytes(picture: Float[Tensor, "H W C"]) -> UInt8[Tensor, "H W C"]:
    """[0, 1] to 0..255, rounded."""
    return (picture.detach().clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def row(pictures: Iterable[Float[Tensor, "H _ C"]]) -> Float[Tensor, "H sum C"]:
    """Side by side."""
    return torch.cat(list(pictures), dim=1)


def column(pictures: Iterable[Float[Tensor, "_ W C"]]) -> Float[Tensor, "sum W C"]:
    """One above the other."""
    return torch.cat(list(pictures), dim=0)
