"""The words of the command line, before Hydra reads them: raw texts quoted, flags checked.

It is done in sys.argv, so that the processes of other devices get it too.
"""

from __future__ import annotations

import re
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from threestudio_like.run.errors import UserError, hint, one_line
from threestudio_like.run.inputs import PATHS, check_path

CONFIGS = Path(__file__).parents[2] / "configs"
TEXTS = ("prompt", "note")  # anything is a text, `null` and `true` too; a path's `null` stays null
QUOTED = r"'(?:\\.|[^\\'])*'|\"(?:\\.|[^\\\"])*\""  # a backslash before a quote keeps it inside
SWEEP = {"-m", "--multirun", "hydra.mode=MULTIRUN"}


def quoted(arguments: list[str]) -> list[str]:
    """The same with every raw text and path as one of Hydra's quoted strings, and all flags at the end.

    Hydra takes the overrides from one place only: `seed=1 -m name=a,b` would be an error.
    """
    sweep = bool(SWEEP & set(arguments))
    words = [quote(argument, sweep=sweep) for argument in arguments]
    if sweep and several_experiments(words):
        words = [deferred(word) for word in words]
    return sorted(words, key=lambda word: word.startswith("-") or not re.match(r"~|.*=", word, re.DOTALL))


def quote(argument: str, *, sweep: bool) -> str:
    """`prompt=a cup, red!` to `prompt='a cup, red!'`; what is quoted stays, so it can sweep.

    In a sweep a path's commas part it: `image=a.png,b.png` are two pictures.
    """
    group = re.fullmatch(r"([\w/]+)(@[\w.]+)?=null", argument)
    if group and (CONFIGS / group[1]).is_dir():
        return argument.removesuffix("null") + "[]"  # Hydra's own null: no option of this group
    match = re.fullmatch(r"(\w+)=(.*)", argument, flags=re.DOTALL)
    if not match or match[1] not in (*TEXTS, *PATHS) or already_quoted(match[2]):
        return argument
    key, value = match.groups()
    if key in TEXTS:
        return f"{key}={quoted_text(value)}"
    values = value.split(",") if sweep else [value]
    return f"{key}=" + ",".join(v if v in ("null", "") else quoted_text(v) for v in values)


def deferred(word: str) -> str:
    """A stage's setting as a sweep of one value: Hydra asks for its key in each job, not before them."""
    key, _, value = word.partition("=")
    of_stage = re.match(r"\+{0,2}([\w/]+@)?stages\.", key) and value
    return f"{key}=choice({value})" if of_stage and not swept(word) else word


def several_experiments(words: list[str]) -> bool:
    """Whether a sweep goes over them."""
    return any(word.startswith("experiment=") and swept(word) for word in words)


def swept(word: str) -> bool:
    """Whether there are several values; what Hydra cannot read is left for it to say so."""
    try:
        return OverridesParser.create().parse_override(word).is_sweep_override()
    except HydraException:
        return False


def quoted_text(value: str) -> str:
    """One of Hydra's quoted strings that reads as `value`."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)  # backslashes count before a quote
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\\${", escaped)  # a text is no interpolation
    return f"'{escaped}'"


def already_quoted(value: str) -> bool:
    """Whether it is one of Hydra's quoted strings, or several with commas: `"a" or "b"` is a raw text."""
    return re.fullmatch(rf"({QUOTED})(\s*,\s*({QUOTED}))*", value, flags=re.DOTALL) is not None


def checked(arguments: list[str]) -> list[str]:
    """The same; raises for a flag that Hydra does not have, which it would answer with a page."""
    parser, page = get_args_parser(), StringIO()
    valued = {name for action in parser._actions if action.nargs is None for name in action.option_strings}
    for before, word in zip(["", *arguments], arguments, strict=False):
        if before in valued:
            continue
        if re.match(r"\W*(=|$)", word):
            raise UserError(f"cannot read {word!r}; write key=value")
        key, _, value = word.partition("=")
        if key in PATHS:  # before Hydra makes a sweep's folder in the outputs
            check_path(key, None if value == "null" else value.strip("'\""))
    try:
        with redirect_stderr(page):
            parser.parse_args(arguments)
        return arguments
    except SystemExit as stopped:
        if not stopped.code:  # --version
            raise
        text = one_line(page.getvalue().rpartition("error: ")[2])
        unknown = text.removeprefix("unrecognized arguments: ")
        if unknown == text:
            raise UserError(text) from None
        if not unknown.startswith("-"):
            raise UserError(f"cannot read {unknown!r}; write key=value") from None
        flag = unknown.split()[0]
        flags = [name for action in parser._actions for name in action.option_strings]
        bare = flag.lstrip("-")
        guess = f"; write {bare}" if "=" in bare else hint(flag, flags)
        raise UserError(f"{flag}: no such flag{guess or '; --hydra-help lists them'}") from None
