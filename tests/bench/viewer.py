"""What it costs to be looked at: the same steps without the viewer and with it, by turns.

Who looks is no browser, which would take the machine's time for itself, but a client that makes a JPEG of
every picture, as a server has to.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from hydra.core.global_hydra import GlobalHydra
from PIL import Image

ROOT = Path(__file__).parents[2]
STEPS, TURNS = 120, 3
EYE = {"position": (0.0, -1.9, 0.5), "wxyz": (0.62, -0.78, 0.0, 0.0), "fov": 0.75, "aspect": 1.3}


class Onlooker:
    """What the viewer takes for a browser."""

    def __init__(self) -> None:
        self.camera = SimpleNamespace(**EYE, look_at=(0.0, 0.0, 0.0), up_direction=(0.0, 0.0, 1.0))
        self.scene = self
        self.taken = 0

    def set_background_image(self, picture: Any, *, format: str, jpeg_quality: int) -> None:
        """A picture arrives."""
        Image.fromarray(picture).save(BytesIO(), format=format, quality=jpeg_quality)
        self.taken += 1


def seconds(outputs: str, *more: str) -> float:
    """Of the steps of the small experiment's coarse stage."""
    import launch

    steps = ["plan=[coarse]", f"stages.coarse.trainer.max_steps={STEPS}", "~export", "~score", "~report"]
    argv = ["launch.py", *steps, f"outputs={outputs}", "name=run", *more]
    with patch.object(sys, "argv", argv):
        try:
            launch.main()
        finally:
            GlobalHydra.instance().clear()
    (found,) = Path(outputs).rglob("run/metrics.json")
    return float(json.loads(found.read_text())["stages"]["coarse"]["seconds"])


def report() -> str:
    """A line for each turn, and the medians."""
    if importlib.util.find_spec("viser") is None:
        return "skipped: viser is not installed"
    sys.path.insert(0, str(ROOT))
    from threestudio_like.loggers.viewer import Viewer

    onlooker, found = Onlooker(), []
    with patch.object(Viewer, "clients", lambda self: [onlooker]):
        for _ in range(TURNS):
            onlooker.taken = 0
            with tempfile.TemporaryDirectory() as alone, tempfile.TemporaryDirectory() as seen:
                found.append((seconds(alone), seconds(seen, "viewer=on"), onlooker.taken))
    lines = [f"| {STEPS} coarse steps, s | looked at, s | pictures |", "| ---: | ---: | ---: |"]
    lines += [f"| {alone:.1f} | {seen:.1f} | {taken} |" for alone, seen, taken in found]
    alone, seen = (statistics.median(turn[i] for turn in found) for i in range(2))
    return "\n".join([*lines, f"\nmedians {alone:.1f} and {seen:.1f} s, {seen / alone - 1:+.1%}"])


if __name__ == "__main__":
    print(report())
