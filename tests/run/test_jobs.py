"""What a sweep's folder says of its jobs."""

import fcntl
import json
import os
import threading
from pathlib import Path

import pytest

from threestudio_like.run import jobs
from threestudio_like.run.folder import RunFolder, hold


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
    (tmp_path / "jobs" / f".{os.getpid()}-1c272957-12.json").touch()  # another process writes it now
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


def test_a_damaged_record_ends_no_summary(tmp_path: Path) -> None:
    folder = left(tmp_path / "runs" / "cup", state="finished", job=0)
    jobs.note(tmp_path, 0, folder=str(folder))
    (folder / "metrics.json").write_text("{torn")
    assert (jobs.read(tmp_path)[0].state, jobs.read(tmp_path)[0].metrics) == ("finished", {})
    (folder / "run.json").write_text("[" * 100_000)
    assert jobs.read(tmp_path) == [jobs.Job(0, (), "damaged", folder, "", {})]


def test_a_running_job_without_its_process_was_killed(tmp_path: Path) -> None:
    folder = left(tmp_path / "runs" / "cup", state="running", job=0)
    jobs.note(tmp_path, 0, folder=str(folder))
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert jobs.read(tmp_path)[0].state == "running"
    assert jobs.read(tmp_path)[0].state == "killed"


def test_a_run_that_was_there_before_may_be_what_a_job_asks_for(tmp_path: Path) -> None:
    folder = left(tmp_path / "runs" / "cup", state="finished", job=3, sweep="another")
    jobs.note(tmp_path, 0, overrides=["seed=1"], folder=str(folder), adopted=True)
    assert [(job.state, job.folder) for job in jobs.read(tmp_path)] == [("finished", folder)]


def test_a_process_is_at_its_job_before_there_is_a_folder(tmp_path: Path) -> None:
    jobs.note(tmp_path, 0, overrides=["seed=1"])
    with jobs.at(tmp_path, 0):
        assert jobs.read(tmp_path)[0].state == "running"
    assert jobs.read(tmp_path)[0].state == "sent"
    assert not (tmp_path / "jobs/0.lock").exists()


def test_what_outlives_its_sweep_is_waited_for(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(jobs, "POLL", 0.01)
    for number in range(3):
        jobs.note(tmp_path, number, overrides=[f"seed={number}"])
    held = hold(tmp_path / "jobs/1.lock")
    assert held is not None
    threading.Timer(0.3, held.close).start()
    assert [job.state for job in jobs.settled(tmp_path)] == ["sent"] * 3 and held.closed
    assert capsys.readouterr().out == f"{tmp_path}: waits for what still runs from before (jobs 1)\n"
    jobs.forget(tmp_path, 1)
    assert {file.name for file in (tmp_path / "jobs").iterdir()} == {"0.json", "2.json"}


def test_processes_of_other_devices_wait_for_the_folder_of_their_job(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(jobs, "POLL", 0.01)
    for number in range(2):
        jobs.note(tmp_path, number, overrides=["seed=1"])
    threading.Timer(0.3, jobs.note, (tmp_path, 0), {"folder": "outputs/a"}).start()
    assert jobs.awaited(tmp_path, 0) == Path("outputs/a")
    jobs.note(tmp_path, 2, overrides=["seed=1"], folder="outputs/c")
    assert jobs.awaited(tmp_path, 1) is None  # the first process was refused there, and has gone on


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
