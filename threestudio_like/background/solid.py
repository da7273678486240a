"""One colour in every direction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Solid(nn.Module):
    """Not learned, and not saved: the configuration says it.

    Args:
        rgb: the colour, three numbers in [0, 1].
    """

    rgb: Float[Tensor, " C"]

    def __init__(self, *, rgb: Sequence[int | float]) -> None:
        super().__init__()
        if len(rgb) != 3:
            raise ValueError(f"background.rgb: three numbers in [0, 1], got {list(rgb)}")
        self.register_buffer("rgb", torch.tensor([float(value) for value in rgb]), persistent=False)

    def forward(self, directions: Float[Tensor, "*rays 3"]) -> Float[Tensor, "*rays 3"]:
        """What is seen along `directions`."""
        return self.rgb.to(directions.dtype).expand_as(directions)
