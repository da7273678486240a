"""Whether what reads a wrong file refuses it as it should: for the tests of wrong files and runs."""

from collections.abc import Callable
from pathlib import Path

import pytest


def refused(read: Callable[[Path], object], path: Path, words: str) -> None:
    """One line that names the file and says `words`; the folder stays as it was."""
    before = contents(path.parent)
    with pytest.raises(ValueError) as caught:
        read(path)
    line = str(caught.value)
    assert path.name in line and words in line and "\n" not in line and len(line) < 600, line
    assert contents(path.parent) == before


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """What is in a folder, and when it was last changed."""
    stats = {str(path): path.lstat() for path in sorted(folder.rglob("*"))}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}
