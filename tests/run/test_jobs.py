"""What a sweep's folder says of its jobs."""

import fcntl
import json
from pathlib import Path

import pytest

from threestudio_like.run import jobs
from threestudio_like.run.folder import RunFolder


def left(folder: Path, **record: object) -> Path:
    """What a run leaves."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_a_job_is_what_is_noted_and_what_its_folder_says(tmp_path: Path) -> None:
    folder = left(tmp_path / "runs" / "cup", state="finished", job=10)
    (folder / "metrics.json").write_text(json.dumps({"iou": 0.5, "seconds": 3, "stages": {}, "best": True}))
    jobs.note(tmp_path, 10, overrides=["seed=1"])
    jobs.note(tmp_path, 10, folder=str(folder))
    jobs.note(tmp_path, 9, overrides=["seed=0"], error="seed: no")
    jobs.note(tmp_path, 11, overrides=["seed=2"])
    refused, finished, sent = jobs.read(tmp_path)
    assert finished == jobs.Job(10, ("seed=1",), "finished", folder, "", {"iou": 0.5, "seconds": 3})
    assert refused == jobs.Job(9, ("seed=0",), "refused", None, "seed: no", {})
    assert sent.state == "sent"


def test_a_folder_that_another_job_took_is_not_its_own(tmp_path: Path) -> None:
    folder = left(tmp_path / "runs" / "cup", state="finished", job=1)
    jobs.note(tmp_path, 0, folder=str(folder), error="rate: too large")
    jobs.note(tmp_path, 1, folder=str(folder))
    assert [(job.state, job.folder) for job in jobs.read(tmp_path)] == [
        ("refused", None),
        ("finished", folder),
    ]


def test_a_running_job_without_its_process_was_killed(tmp_path: Path) -> None:
    folder = left(tmp_path / "runs" / "cup", state="running", job=0)
    jobs.note(tmp_path, 0, folder=str(folder))
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert jobs.read(tmp_path)[0].state == "running"
    assert jobs.read(tmp_path)[0].state == "killed"


def test_outside_a_sweep_nothing_is_noted(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, writes=True)
    jobs.belongs(run)
    run.close()
    assert "sweep" not in run.manifest and not (tmp_path / "run.json").exists()


@pytest.mark.parametrize(
    ("overrides", "varied"),
    [
        ([("seed=0", "a.b=1"), ("seed=1", "a.b=1")], {"seed": ["0", "1"]}),
        ([("a=x=1",), ("a=y", "+b=2")], {"a": ["x=1", "y"], "b": ["", "2"]}),
        ([("seed=0",)], {}),
    ],
)
def test_what_is_varied(overrides: list[tuple[str, ...]], varied: dict[str, list[str]]) -> None:
    found = [jobs.Job(i, words, "sent", None, "", {}) for i, words in enumerate(overrides)]
    assert jobs.varied(found) == varied
