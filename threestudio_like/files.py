"""Files that are whole or absent: written beside their place, flushed to the disk, renamed into it."""

from __future__ import annotations

import csv
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Any

PARTIAL = r"\.\d+-[0-9a-f]{8}-.+"  # names that `replacing` writes to
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
TAKEN = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP)  # by a file where a folder belongs, or so


class Unwritable(OSError):
    """No space left, or a place where nothing can be written: one line that names the file."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The path to write to instead of `path`: hidden, in its folder, with its suffix, nobody else's.

    What is there at the end takes the place of `path` in one step, and outlives a power cut. After an error
    `path` is as it was, and nothing is left beside it. FileNotFoundError if nothing was written; Unwritable
    if it cannot be.
    """
    # the process says whose it is; the rest tells its threads apart, and equal numbers on two machines
    partial = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            # flushed before the rename: a crash between would leave an empty file under the right name
            _flush(partial)
            os.replace(partial, path)
            _flush(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Remove what killed processes left of `replacing` in here; for who has the folder alone."""
    for path in folder.rglob(".*"):
        if re.fullmatch(PARTIAL, path.name, re.DOTALL):
            with suppress(OSError):  # nobody needs it; nor does a run need it gone
                path.unlink()


def write(path: Path, content: bytes | str) -> None:
    """`content` in `path`, text as UTF-8; or `path` as it was."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table, as spreadsheets read it."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    write(path, text.getvalue())


def append(path: Path, text: str) -> None:
    """`text` at the end of `path`, which is made if it is not there."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What goes wrong in here because `path`, or what is in it, cannot be written is an Unwritable."""
    try:
        yield
    except Unwritable:
        raise
    except Exception as error:
        reason = _refusal(error, path.absolute())
        if reason is None:
            raise
        free = f"; {_free(path)} free there" if reason.errno == errno.ENOSPC else ""
        raise Unwritable(f"cannot write {path} ({os.strerror(reason.errno or 0)}{free})") from error


def _refusal(error: BaseException | None, path: Path) -> OSError | None:
    """The system's refusal to write that `error` is, or came from: torch wraps it in errors of its own."""
    seen: set[int] = set()  # others' errors may come from each other
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError):
            name = Path(error.filename or path).absolute()
            near = name.parent in path.parents or path in name.parents  # not of a file that is only read
            if error.errno in FULL or (error.errno in CLOSED + TAKEN and near):
                return error
        error = error.__cause__ or error.__context__
    return None


def _free(path: Path) -> str:
    """Space on the disk of the nearest folder that exists."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    return f"{shutil.disk_usage(folder).free / 1e6:.1f} MB"


def _flush(path: Path) -> None:
    """Send a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
