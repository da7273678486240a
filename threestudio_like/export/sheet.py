"""A contact sheet: pictures from files in rows and columns, each row and column with its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from threestudio_like.files import replacing

MARGIN, LINE = 4, 14  # pixels around a picture; of a line of text
GREY, BLACK, WHITE = (230, 230, 230), (0, 0, 0), (255, 255, 255)


def write_sheet(
    path: Path,
    pictures: Mapping[tuple[str, str], Path],
    rows: Sequence[str],
    columns: Sequence[str],
    height: int,
) -> None:
    """A PNG of the pictures by (row, column), each `height` pixels high; what is not there stays grey."""
    read = {place: shrunk(file, height) for place, file in pictures.items() if file.exists()}
    width = max((picture.width for picture in read.values()), default=height)
    left = MARGIN + max(
        (round(ImageDraw.Draw(Image.new("RGB", (1, 1))).textlength(row)) for row in rows), default=0
    )
    across, down = width + MARGIN, height + MARGIN
    sheet = Image.new("RGB", (left + MARGIN + len(columns) * across, LINE + MARGIN + len(rows) * down), WHITE)
    pen = ImageDraw.Draw(sheet)
    for i, column in enumerate(columns):
        pen.text((left + MARGIN + i * across, 2), column, BLACK)
    for j, row in enumerate(rows):
        top = LINE + MARGIN + j * down
        pen.text((MARGIN, top + height // 2 - LINE // 2), row, BLACK)
        for i, column in enumerate(columns):
            empty = Image.new("RGB", (width, height), GREY)
            sheet.paste(read.get((row, column), empty), (left + MARGIN + i * across, top))
    with replacing(path) as partial:
        sheet.save(partial, format="PNG")


def shrunk(file: Path, height: int) -> Image.Image:
    """A picture at this height, its sides as they are to each other."""
    with Image.open(file, formats=["PNG"]) as opened:
        return opened.convert("RGB").resize((max(1, round(opened.width * height / opened.height)), height))
