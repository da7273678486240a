"""Tables in Markdown, in columns of equal width, so that they are read in a terminal as well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """One line for each row; floats to four digits, nothing for None."""
    cells = [[cell(value) for value in line] for line in (head, *rows)]
    widths = [max(3, *(len(line[i]) for line in cells)) for i in range(len(head))]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells)


def cell(value: Any) -> str:
    """As text; what would end a cell or a line does not, and what a terminal would obey is a space."""
    if value is None:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return "".join(letter if letter.isprintable() else " " for letter in text).replace("|", "\\|")
