"""Files that are whole or absent: written beside their place, flushed to the disk, renamed into it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The path to write to instead of `path`: hidden, in its folder, with its suffix, nobody else's.

    What is there at the end takes the place of `path` in one step, and outlives a power cut. After an error
    `path` is as it was, and nothing is left beside it. FileNotFoundError if nothing was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # the process says whose it is; the rest tells its threads apart, and equal numbers on two machines
    partial = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        yield partial
        _flush(partial)  # before the rename: a crash between would leave an empty file under the right name
        os.replace(partial, path)
        _flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write(path: Path, content: bytes | str) -> None:
    """`content` in `path`, text as UTF-8; or `path` as it was."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def _flush(path: Path) -> None:
    """Send a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
