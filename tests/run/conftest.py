"""The tiny experiment, run in this process as `python launch.py` would be."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

import launch

HERE = Path(__file__).parent


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """Call it with overrides; gives the folder of outputs. SystemExit comes through."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.delenv("THREESTUDIO_LIKE_RUN", raising=False)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    outputs = tmp_path / "outputs"

    def launched(*overrides: str) -> Path:
        words = ["--config-dir", str(HERE / "configs")]
        if not any(o.startswith("resume=") for o in overrides):
            words += ["experiment=tiny", f"outputs={outputs}"]
        monkeypatch.setattr(sys, "argv", ["launch.py", *words, *overrides])
        before = logging.getLogger().handlers[:]
        try:
            launch.main()
        finally:
            GlobalHydra.instance().clear()
            assert logging.getLogger().handlers == before
        return outputs

    return launched


@pytest.fixture
def refused(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., str]:
    """The one line that overrides are refused with; nothing is left behind."""

    def line(*overrides: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            run(*overrides)
        assert stopped.value.code == 2
        captured = capsys.readouterr().err.splitlines()
        assert len(captured) == 1 and captured[0].startswith("error: "), captured
        return captured[0].removeprefix("error: ")

    return line
