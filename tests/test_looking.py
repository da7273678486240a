"""The viewer as somebody has it on the screen: in headless Chromium."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.loggers import browser
from tests.loggers.test_viewer import SETTINGS, System, trained
from threestudio_like.loggers.viewer import Viewer


def place(viewer: Viewer) -> np.ndarray:
    """Where the browser's camera is."""
    return np.asarray(viewer.clients()[0].camera.position)


def look(page: browser.Page, viewer: Viewer, system: System) -> None:
    """Everything that can be done there."""
    page.until(lambda: "coarse" in page.text() and "of 20000" in page.text())
    page.click("button", "pause")
    page.until(lambda: viewer.paused)
    step = page.until(lambda: system.trainer.global_step)
    time.sleep(1.0)
    assert system.trainer.global_step - step <= 1  # the one that was being made
    before = place(viewer)
    page.drag((300, 300), (420, 340))
    page.until(lambda: np.abs(place(viewer) - before).max() > 0.05)
    page.click("input", "colour")
    page.click("[role=option]", "depth")
    page.until(lambda: viewer.kind == "depth")
    page.click("button", "export now")
    page.until(lambda: "exported coarse" in page.text())
    page.click("button", "go on")
    page.until(lambda: system.trainer.global_step > step + 5)


@pytest.mark.slow
def test_somebody_looks_in_a_browser(tmp_path: Path) -> None:
    """Step and stage are told; it stands still and goes on, shows depth, is turned by the mouse, exports."""
    pytest.importorskip("viser")
    viewer, system, told = Viewer(**{**SETTINGS, "share": 1.0}), System(delay=0.02), ["nothing"]
    viewer.export = lambda system, stage, step: f"exported {stage}"

    def hand() -> None:
        try:
            while viewer.server is None:
                time.sleep(0.05)
            address = f"http://127.0.0.1:{viewer.server.get_port()}"
            with browser.opened(address, tmp_path / "chromium") as page:
                look(page, viewer, system)
            told.clear()
        except BaseException as error:
            told.append(repr(error))
        finally:
            viewer.paused = False
            system.trainer.should_stop = True

    thread = threading.Thread(target=hand, daemon=True)
    thread.start()
    try:
        trained(system, 20000, [viewer], tmp_path)
        thread.join(timeout=30)
    finally:
        viewer.close()
    assert not told
