"""One clear line for a user's mistake, with the nearest name that exists."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(ValueError):
    """What the user can mend: printed as one line, exit code 2, never a traceback."""


def hint(word: str, choices: Iterable[str], few: int = 12) -> str:
    """`; did you mean 'x'?`, or the choices where they are few, or nothing."""
    choices = sorted(map(str, choices))
    near = get_close_matches(word, choices, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; choose one of: {', '.join(choices)}" if 0 < len(choices) <= few else ""


def brief(text: str, longest: int = 100) -> str:
    """The text, or its beginning: what was given is said again, but not pages of it."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def one_line(text: object) -> str:
    """All that a many-line message says, in one."""
    return "; ".join(line.strip().rstrip(".") for line in str(text).splitlines() if line.strip())


def joined(*keys: str) -> str:
    """`a.b.c` without the empty ones."""
    return ".".join(key for key in keys if key)


def raised_here(error: BaseException) -> bool:
    """Whether the house's code or a user's own part raised it: there a ValueError means a user's mistake."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return False
    names = frames[-1][0].f_globals
    if names.get("__name__", "").split(".")[0] in ("threestudio_like", "systems"):
        return True
    libraries = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), sysconfig.get_path("stdlib"))
    return not str(names.get("__file__") or libraries[0]).startswith(libraries)


@contextmanager
def mistakes(key: str, own: tuple[str, ...] = ()) -> Iterator[None]:
    """A ValueError that our own code raises in here is the user's mistake: one line, after the key.

    Lines that begin with one of `own` name their key themselves.
    """
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        if not raised_here(error):
            raise
        text = one_line(error)
        raise UserError(text if text.startswith(own) else f"{key}: {text}") from error
