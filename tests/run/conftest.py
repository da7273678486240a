"""The tiny experiment, run in this process as `python launch.py` would be."""

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
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


@pytest.fixture
def photographed(tmp_path: Path) -> Callable[..., np.ndarray]:
    """What Chromium shows at an address when `until` says so, [H W 3] bytes; skipped where there is none."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    headless = ["--headless", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--hide-scrollbars"]
    alone = ["--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run", "--disable-component-update"]
    quiet = ["--disable-background-networking", "--disable-sync", "--force-device-scale-factor=1"]

    def taken(address: str, width: int, height: int, *, until: Callable[[np.ndarray], bool]) -> np.ndarray:
        file = tmp_path / "shot.png"
        sized = [f"--user-data-dir={tmp_path / 'browser'}", f"--window-size={width},{height}"]
        command = [browser, *headless, *alone, *quiet, *sized, f"--screenshot={file}", address]
        for patience in (4, 16, 64):  # a busy machine may need more of the page's own seconds
            budget = f"--virtual-time-budget={1000 * patience}"
            subprocess.run([*command, budget], check=True, capture_output=True, timeout=120)
            shot = np.asarray(imageio.imread(file))[..., :3]
            if until(shot):
                return shot
        raise AssertionError(f"{address} did not become what it should")

    return taken
