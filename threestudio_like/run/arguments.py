"""Raw words on the command line: quoted before Hydra's grammar sees them.

It is done in sys.argv, so that the processes of other devices get it too.
"""

from __future__ import annotations

import re
from pathlib import Path

CONFIGS = Path(__file__).parents[2] / "configs"
TEXTS = ("prompt",)  # anything is a text, `null` and `true` too
PATHS = ("image", "object", "dataset", "name", "resume", "outputs")  # `null` stays null


def quoted(arguments: list[str]) -> list[str]:
    """The same arguments with every raw text and path as one of Hydra's quoted strings."""
    return [quote(argument) for argument in arguments]


def quote(argument: str) -> str:
    """`prompt=a cup, red!` to `prompt='a cup, red!'`; what is quoted stays, so it can sweep."""
    group = re.fullmatch(r"([\w/]+)(@[\w.]+)?=null", argument)
    if group and (CONFIGS / group[1]).is_dir():
        return argument.removesuffix("null") + "[]"  # Hydra's own null: no option of this group
    match = re.fullmatch(r"(\w+)=(.*)", argument, flags=re.DOTALL)
    if not match or match[1] not in TEXTS + PATHS:
        return argument
    key, value = match.groups()
    if (key in PATHS and value in ("null", "")) or already_quoted(value):
        return argument
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)  # backslashes count before a quote
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\\${", escaped)  # a text is no interpolation
    return f"{key}='{escaped}'"


def already_quoted(value: str) -> bool:
    """Whether the value begins and ends with one kind of quote."""
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
