"""What a run was given, as its system saw it: input.png of its folder, cut out and placed, and remarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from threestudio_like.data.picture import resized
from threestudio_like.export.model import Pictures
from threestudio_like.export.turntable import write_png
from threestudio_like.loggers.images import column, row
from threestudio_like.ops.depth import painted

NAME = "input.png"
SIDE = 256  # pixels of the longest side of one
MOST = 6  # of many, evenly chosen


def remarks(data: Any) -> list[str]:
    """What may be wrong with it."""
    return data.remarks if hasattr(type(data), "remarks") else []


@torch.no_grad()
def keep(data: Any, folder: Path) -> None:
    """Write it once, for data that a scene is made from: colours, alpha, depth and normals if any."""
    if not isinstance(data, Pictures) or (folder / NAME).exists():
        return
    view = data.pictures
    count = min(len(view.rgb), MOST)
    chosen = [round(i * (len(view.rgb) - 1) / max(count - 1, 1)) for i in range(count)]
    rows = [view.rgba[..., :3], view.alpha.expand(-1, -1, -1, 3)]
    if view.depth is not None:
        rows.append(painted(view.depth, view.alpha))
    if view.normal is not None:
        rows.append((view.normal + 1) / 2 * view.alpha + 1 - view.alpha)
    write_png(folder / NAME, column([row([small(each[index]) for index in chosen]) for each in rows]))


def small(picture: Float[Tensor, "H W 3"]) -> Float[Tensor, "h w 3"]:
    """Not above SIDE pixels."""
    height, width = picture.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    whole = torch.cat([picture, torch.ones_like(picture[..., :1])], dim=-1)
    return resized(whole, max(1, round(scale * height)), max(1, round(scale * width)))[..., :3].cpu()
