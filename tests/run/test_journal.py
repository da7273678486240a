"""Everything is written; our own lines are shown."""

import logging
import warnings
from pathlib import Path

import pytest

from threestudio_like.run.journal import journal


def test_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, root = tmp_path / "log.txt", logging.getLogger()
    before = root.handlers[:], root.level
    with pytest.raises(KeyError), journal(file, shown=True):
        logging.getLogger("threestudio_like.run").info("ours")
        logging.getLogger("somebody").warning("theirs")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("careful", stacklevel=1)
        raise KeyError("lost")
    text = file.read_text()
    assert all(word in text for word in ("ours", "theirs", "careful", "KeyError: 'lost'"))
    assert capsys.readouterr().out == "ours\n"
    assert (root.handlers, root.level) == before


def test_other_processes_write_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with journal(tmp_path / "log.txt", shown=False):
        logging.getLogger("threestudio_like.run").info("ours")
    assert not list(tmp_path.iterdir()) and capsys.readouterr().out == ""
