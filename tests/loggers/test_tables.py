"""One line of JSON for each logged step, also after a resume."""

import json
from pathlib import Path

from threestudio_like.loggers.tables import Lines


def test_lines_are_appended(tmp_path: Path) -> None:
    for step in (0, 10):
        Lines(save_dir=str(tmp_path / "stage")).log_metrics({"loss": 0.5 / (step + 1)}, step)
    lines = [json.loads(line) for line in (tmp_path / "stage" / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 0, "loss": 0.5}, {"step": 10, "loss": 0.5 / 11}]
