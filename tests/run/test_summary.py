"""The summary of a sweep whose numbers are known."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from threestudio_like.run import jobs
from threestudio_like.run.errors import UserError
from threestudio_like.run.summary import check_objective, coordinates, main, ranked, write_summary

SCORES = [{"chamfer": 0.3, "iou": 0.5}, {"chamfer": 0.1, "iou": 0.4}, {"chamfer": 0.2}]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Three finished runs and one that failed; pictures of two."""
    folder = tmp_path / "sweeps" / "first"
    for number, scores in enumerate([*SCORES, None]):
        run = tmp_path / "tiny" / f"cup-{number}"
        (run / "fine" / "images").mkdir(parents=True)
        record = {"state": "finished" if scores else "failed", "job": number, "plan": ["coarse", "fine"]}
        (run / "run.json").write_text(json.dumps(record))
        if scores:
            (run / "metrics.json").write_text(json.dumps(scores))
        words = [f"seed={number}", "geometry@a.b=sdf", f"rate={10**-number}", "name=a|b"]
        jobs.note(folder, number, overrides=words, folder=str(run))
    for step, colour in ((10, "red"), (200, "blue")):  # of the best by chamfer
        Image.new("RGB", (40, 20), colour).save(tmp_path / f"tiny/cup-1/fine/images/view-{step:06d}.png")
    jobs.note(folder, 3, error="ZeroDivisionError")
    return folder


@pytest.mark.parametrize(
    ("objective", "direction", "order"),
    [
        ("iou", "maximize", [0, 1, 2, 3]),
        ("iou", "minimize", [1, 0, 2, 3]),
        ("chamfer", "minimize", [1, 2, 0, 3]),
        (None, "maximize", [0, 1, 2, 3]),
    ],
)
def test_the_best_first(sweep: Path, objective: str | None, direction: str, order: list[int]) -> None:
    assert [job.number for job in ranked(jobs.read(sweep), objective, direction)] == order


def test_the_table_and_the_page(sweep: Path) -> None:
    write_summary(sweep, "chamfer", "minimize", {})
    rows = list(csv.DictReader((sweep / "summary.csv").read_text().splitlines()))
    assert [row["job"] for row in rows] == ["1", "2", "0", "3"]
    assert [row["chamfer"] for row in rows] == ["0.1", "0.2", "0.3", ""]
    assert {row["rate"] for row in rows} == {"1", "0.1", "0.01", "0.001"} and "geometry@a.b" not in rows[0]
    assert all((sweep / row["folder"] / "run.json").exists() for row in rows)
    assert rows[3]["error"] == "ZeroDivisionError"
    page = (sweep / "summary.md").read_text()
    assert "4 runs: 3 finished, 1 failed." in page
    assert "Best by chamfer (minimize): job 1, 0.1, [../../tiny/cup-1](../../tiny/cup-1)." in page
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert len(lines) == 6 and len({line.count("|") for line in lines}) == 1
    assert "![parallel](parallel.png)" in page and "![best](best.png)" in page


def test_the_best_runs_last_picture(sweep: Path) -> None:
    write_summary(sweep, "chamfer", "minimize", {})
    pixels = np.asarray(Image.open(sweep / "best.png"))
    assert (pixels == (0, 0, 255)).all(-1).sum() == 40 * 20 and not (pixels == (255, 0, 0)).all(-1).any()


def test_the_axes(sweep: Path) -> None:
    axes = coordinates(jobs.read(sweep), "chamfer")
    assert list(axes) == ["seed", "rate", "iou", "chamfer"]  # the objective last; the failed run is left out
    assert axes["rate"] == [1.0, 0.1, 0.01] and axes["chamfer"] == [0.3, 0.1, 0.2]


def test_a_misspelt_objective(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"objective: champfer: .*did you mean 'chamfer'\?"):
        check_objective("champfer", jobs.read(sweep))
    assert main([str(sweep), "champfer"]) == 2 and "chamfer" in capsys.readouterr().err
    assert not (sweep / "summary.md").exists()


def test_the_command(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(sweep), "chamfer", "minimize"]) == 0
    assert capsys.readouterr().out.strip() == str(sweep / "summary.md")
    for wrong in ([], [str(sweep.parent)], [str(sweep), "chamfer", "up"], [str(sweep), "a", "maximize", "b"]):
        assert main(wrong) == 2 and capsys.readouterr().err.startswith("error: ")
