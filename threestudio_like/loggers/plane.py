"""Pictures of what happens in the plane: points, and arrows of a vector field; x to the right, y up.

The picture shows [-1, 1]^2.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

INK, PAPER = (20, 60, 140), (255, 255, 255)
FINE = 3  # pictures are drawn so many times as large, then averaged


def scatter(points: Float[Tensor, "N 2"], side: int) -> Float[Tensor, "side side 3"]:
    """A dot for each point."""
    image, pen = canvas(side)
    radius = side * FINE / 200
    for x, y in pixels(points, side):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=INK)
    return shrunk(image, side)


def arrows(
    points: Float[Tensor, "N 2"], vectors: Float[Tensor, "N 2"], side: int
) -> Float[Tensor, "side side 3"]:
    """A line from a dot at each point along its vector; the longest is as long as points are apart.

    Lengths are the roots of the vectors', or a few strong ones would leave nothing of the others to see.
    """
    image, pen = canvas(side)
    apart = 2 / max(len(points) ** 0.5, 1.0)
    length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp(min=1e-12)
    ends = points + vectors / (length * length.max()).sqrt() * apart
    radius = side * FINE / 160
    for (x, y), end in zip(pixels(points, side), pixels(ends, side), strict=True):
        pen.line((x, y, *end), fill=INK, width=FINE)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=INK)
    return shrunk(image, side)


def lattice(count: int) -> Float[Tensor, "N 2"]:
    """count x count points, in the middles of as many squares."""
    middles = (torch.arange(count) + 0.5) * 2 / count - 1
    return torch.cartesian_prod(middles, middles)


def canvas(side: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Empty paper, with axes."""
    image = Image.new("RGB", (side * FINE, side * FINE), PAPER)
    pen = ImageDraw.Draw(image)
    edge, middle = side * FINE - 1, side * FINE // 2
    for line in ((0, middle, edge, middle), (middle, 0, middle, edge), (edge, 0, edge, edge)):
        pen.line(line, fill=(215, 215, 215), width=FINE)
    return image, pen


def pixels(points: Float[Tensor, "N 2"], side: int) -> list[tuple[float, float]]:
    """Where points fall on the canvas."""
    x, y = ((points.detach().cpu() * torch.tensor([1.0, -1.0]) + 1) / 2 * side * FINE).unbind(-1)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def shrunk(image: Image.Image, side: int) -> Float[Tensor, "side side 3"]:
    """To its size, in [0, 1]."""
    small = image.resize((side, side), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small, dtype=np.float32) / 255)
