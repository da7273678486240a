"""Where things made once are kept, and how they are written: whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def folder(path: str | None) -> Path:
    """`path`, or this package's folder in the user's cache (XDG); made if it is not there."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    chosen = Path(path or Path(base) / "threestudio_like").expanduser()
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


def digest(*values: object) -> str:
    """A short name for `values`, equal when their text is equal."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


@contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """A handle whose bytes become `file` when all of them are written; nothing is left of a failure."""
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as handle:
            yield handle
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
