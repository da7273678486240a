"""Parallel coordinates: an upright axis for each number or word, a line through all of them for each run.

Lines take their colour from the last axis, pale to dark, and the darkest are drawn last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from threestudio_like.loggers.images import from_pillow

APART, HEIGHT, TOP, BOTTOM = 170, 360, 44, 30  # pixels
PALE, DARK, GREY = (236, 205, 120), (110, 20, 110), (130, 130, 130)
WIDE = 30  # largest ratio of an axis that is not logarithmic
LETTERS = 24  # of a title or a word

Column = Sequence[float | str]


def parallel(axes: Mapping[str, Column], *, reverse: bool) -> Float[Tensor, "H W 3"]:
    """The picture of columns of equal length; `reverse`: the least of the last axis is the darkest.

    A run with a NaN has no place on that axis; its line leaves it out, and is grey if it is the last one.
    """
    heights = {name: places(column) for name, column in axes.items()}
    image = Image.new("RGB", (APART * len(axes), TOP + HEIGHT + BOTTOM), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    across = {name: APART // 2 + APART * index for index, name in enumerate(axes)}
    shades = [1 - place if reverse else place for place in list(heights.values())[-1]]
    for run in sorted(range(len(shades)), key=lambda run: (not math.isnan(shades[run]), shades[run])):
        points = [(across[name], down(column[run])) for name, column in heights.items()]
        known = [(x, y) for x, y in points if not math.isnan(y)]
        pen.line(known, fill=colour(shades[run]), width=2, joint="curve")
    for name, column in axes.items():
        pen.line([(across[name], TOP), (across[name], TOP + HEIGHT)], fill="black")
        pen.text((across[name], 16), shortened(name), fill="black", font=font, anchor="mm")
        for text, place in marks(column):
            pen.text((across[name] + 5, down(place)), text, fill=GREY, font=font, anchor="lm")
    return from_pillow(image)


def places(column: Column) -> list[float]:
    """0 (below) to 1 (above) for each value: words evenly in their order, numbers in theirs."""
    words = any(isinstance(value, str) for value in column)
    if words:
        names = list(dict.fromkeys(map(str, column)))
        return [names.index(str(value)) / max(len(names) - 1, 1) for value in column]
    scale = math.log if logarithmic(column) else float
    known = [scale(value) for value in column if not math.isnan(value)] or [0.0]  # type: ignore[arg-type]
    span = max(known) - min(known)
    return [(scale(v) - min(known)) / span if span else 0.5 if v == v else v for v in column]  # type: ignore


def logarithmic(column: Column) -> bool:
    """Whether numbers are all above 0 and far apart."""
    known = [value for value in column if isinstance(value, (int, float)) and not math.isnan(value)]
    return bool(known) and min(known) > 0 and max(known) / min(known) > WIDE


def marks(column: Column) -> list[tuple[str, float]]:
    """What is written at an axis, and where: its words, or its ends and its middle."""
    placed = dict(zip(column, places(column), strict=True))
    if any(isinstance(value, str) for value in column):
        return [(shortened(str(value)), place) for value, place in placed.items()]
    known = sorted(value for value in placed if not math.isnan(value))  # type: ignore[arg-type]
    ends = [known[0], known[len(known) // 2], known[-1]] if known else []
    return [(f"{value:.4g}", placed[value]) for value in dict.fromkeys(ends)]


def down(place: float) -> float:
    """0 to 1 as a row of pixels."""
    return TOP + HEIGHT * (1 - place)


def colour(shade: float) -> tuple[int, ...]:
    """0 pale, 1 dark, NaN grey."""
    if math.isnan(shade):
        return (215, 215, 215)
    return tuple(round(pale + (dark - pale) * shade) for pale, dark in zip(PALE, DARK, strict=True))


def shortened(text: str) -> str:
    """Its end, which tells more than its beginning."""
    return text if len(text) <= LETTERS else "…" + text[1 - LETTERS :]
