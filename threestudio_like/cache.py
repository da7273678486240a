"""Where things made once are kept."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def folder(path: str | None) -> Path:
    """`path`, or this package's folder in the user's cache (XDG); made if it is not there."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    chosen = Path(path or Path(base) / "threestudio_like").expanduser()
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


def digest(*values: object) -> str:
    """A short name for `values`, equal when their text is equal."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]
