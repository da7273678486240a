"""Sweeps as a user starts them: grids and studies, here and by every launcher, killed and gone on with."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from threestudio_like.run import jobs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHORT = ["plan=[first]", "stages.first.trainer.max_steps=1"]
STUDY = ["hydra/sweeper=tpe", "hydra.sweeper.objective=mean", "hydra.sweeper.search.startup=2"]
needs_optuna = pytest.mark.skipif(
    importlib.util.find_spec("optuna") is None, reason="pip install -e '.[sweep]' to search with TPE"
)


def states(sweep: Path) -> list[str]:
    return [job.state for job in jobs.read(sweep)]


def test_a_grid_and_its_summary(run, tmp_path: Path) -> None:
    outputs = run("-m", *SHORT, "prompt='a, b','c'", "hydra.sweeper.objective=mean")
    (sweep,) = (outputs / "sweeps").iterdir()
    assert states(sweep) == ["finished"] * 2
    assert {path.name for path in sweep.iterdir()} >= {"summary.csv", "summary.md", "parallel.png"}
    for job in jobs.read(sweep):
        record = json.loads((job.folder / "run.json").read_text())
        assert (record["sweep"], record["job"]) == (str(sweep), job.number)  # each finds the other
        assert record["overrides"][-2:] == list(job.overrides[-2:])
    page = (sweep / "summary.md").read_text()
    best = max(jobs.read(sweep), key=lambda job: job.metrics["mean"])
    assert f"Best by mean (maximize): job {best.number}, " in page and best.folder.name in page


def test_a_grid_goes_on_with_what_is_not_finished(run, monkeypatch, tmp_path: Path) -> None:
    import tiny

    place = f"hydra.sweep.dir={tmp_path}/grid"
    good = tiny.Score.__call__
    monkeypatch.setattr(tiny.Score, "__call__", lambda self, scene: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # a bug, with its traceback, when all are done
        run("-m", *SHORT, "seed=0", place)
    assert states(tmp_path / "grid") == ["failed"]
    assert "division by zero" in (tmp_path / "grid/summary.md").read_text()
    monkeypatch.setattr(tiny.Score, "__call__", good)
    run("-m", *SHORT, "seed=0", place)
    run("-m", *SHORT, "seed=0,1", place)
    assert [(job.state, job.overrides[-1]) for job in jobs.read(tmp_path / "grid")] == [
        ("failed", "seed=0"),
        ("finished", "seed=0"),
        ("finished", "seed=1"),
    ]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["seed=0", "hydra.sweeper.objective=meen"], "no number of that name in"),
        (["seed=0", "hydra.sweeper.direction=maximise"], "no direction 'maximise'; did you mean 'maximize'?"),
        (["seed=interval(0,2)"], "seed: a grid takes values, not an interval; hydra/sweeper=tpe takes both"),
        (["seed=0,1", "hydra/sweeper=tpee"], "hydra/sweeper: no option 'tpee'; did you mean 'tpe'?"),
        (["seed=0,1", "hydra/launcher=joblibb"], "hydra/launcher: no option 'joblibb'"),
        (["seed=0,1", "hydra/sweeper=tpe"], "hydra.sweeper.objective: not set; expected a number of"),
        (["seed=0", *STUDY], "hydra/sweeper=tpe: nothing varies"),
        (["seed=0,1", *STUDY, "hydra.sweeper.trials=0"], "hydra.sweeper.trials: at least 1, not 0"),
        (
            ["seed=0,1", *STUDY, "hydra.sweeper.pruning.stage=firts"],
            "hydra.sweeper.pruning.stage: no stage 'firts'; did you mean 'first'?",
        ),
        (
            ["seed=0,1", *STUDY, "stages.first.trainer.devices=2"],
            "stages.first.trainer.devices: processes of other devices would not know the trials",
        ),
    ],
)
def test_mistakes(refused, overrides: list[str], line: str) -> None:
    if "hydra/sweeper=tpe" in overrides:
        pytest.importorskip("optuna")
    assert line in refused("-m", *SHORT, *overrides)


def test_a_launcher_that_breaks_is_one_line(refused, monkeypatch, tmp_path: Path) -> None:
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    def launch(self, *_, **__) -> None:
        raise ConnectionError("no cluster\nat 10.0.0.1")

    monkeypatch.setattr(BasicLauncher, "launch", launch)
    said = refused("-m", *SHORT, "seed=0,1", f"hydra.sweep.dir={tmp_path}/grid")
    assert said == "hydra/launcher: ConnectionError: no cluster; at 10.0.0.1"
    assert [(job.state, job.error) for job in jobs.read(tmp_path / "grid")] == [("refused", said)] * 2


def test_a_sweep_is_no_dry_run_and_no_torchrun(refused, monkeypatch, tmp_path: Path) -> None:
    place = f"hydra.sweep.dir={tmp_path}/grid"
    assert refused("-m", *SHORT, "seed=0", "dry=true", place).startswith("dry: shows one run")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert refused("-m", *SHORT, "seed=0", place).startswith("-m: a sweep is begun by one process")
    assert not (tmp_path / "grid").exists()


def test_runs_that_were_there_before_count(run, tmp_path: Path) -> None:
    """With resume=auto another sweep takes what the first one left, and typed again has nothing to do."""
    words = ["-m", "experiment=tiny", f"outputs={tmp_path}/runs", *SHORT, "resume=auto", "seed=0,1"]
    words.append("hydra.sweeper.objective=mean")
    for folder in ("first", "other", "other"):
        run(*words, f"hydra.sweep.dir={tmp_path}/{folder}")
    first, other = jobs.read(tmp_path / "first"), jobs.read(tmp_path / "other")
    assert [job.folder for job in other] == [job.folder for job in first]
    assert states(tmp_path / "other") == ["finished"] * 2 and other[0].metrics == first[0].metrics
    assert "Best by mean" in (tmp_path / "other/summary.md").read_text()


def test_what_was_sent_and_never_began_is_no_line_of_the_summary(run, tmp_path: Path) -> None:
    jobs.note(tmp_path / "grid", 0, overrides=["seed=7"])
    run("-m", *SHORT, "seed=0", f"hydra.sweep.dir={tmp_path}/grid")
    assert [(job.number, job.state) for job in jobs.read(tmp_path / "grid")] == [(1, "finished")]


def test_a_dashboard_that_fails_hides_no_mistake(run, capsys, monkeypatch, tmp_path: Path) -> None:
    from threestudio_like.run import summary

    def broken(*_: object) -> None:
        raise TypeError("no such column")

    monkeypatch.setattr(summary, "write_summary", broken)
    with pytest.raises(TypeError, match="no such column"):
        run("-m", *SHORT, "seed=0", f"hydra.sweep.dir={tmp_path}/good")
    with pytest.raises(SystemExit):
        run("-m", *SHORT, "seed=interval(0,1)", f"hydra.sweep.dir={tmp_path}/bad")
    assert "a grid takes values" in capsys.readouterr().err


def test_one_process_a_folder(refused, tmp_path: Path) -> None:
    from threestudio_like.run.folder import lock

    held = lock(tmp_path)
    said = refused("-m", *SHORT, "seed=0", f"hydra.sweep.dir={tmp_path}")
    held.close()
    assert said == f"hydra.sweep.dir: another process is at work in {tmp_path}"


def test_a_process_of_another_device_does_what_is_left(run, monkeypatch, tmp_path: Path) -> None:
    """Lightning starts it with the same command, while the first process is at the second of three jobs."""
    from threestudio_like.run import sweeper

    batch = [[*SHORT, f"seed={seed}", "experiment=tiny", f"outputs={tmp_path}"] for seed in (0, 1, 2)]
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv(sweeper.SENT, json.dumps({"first": 4, "batch": batch, "at": 5}))
    done: list[int] = []
    monkeypatch.setattr("threestudio_like.run.session.start", lambda tree, **_: done.append(tree["seed"]))
    run("-m", "seed=0,1,2", f"hydra.sweep.dir={tmp_path}/grid")
    assert done == [1, 2] and not (tmp_path / "grid/summary.md").exists()


@needs_optuna
def test_a_study_goes_on_to_its_number_of_trials(run, tmp_path: Path) -> None:
    from threestudio_like.run import search

    sweep = tmp_path / "study"
    words = ["-m", *SHORT, *STUDY, f"hydra.sweep.dir={sweep}", "stages.first.system.rate=choice(0.5,3)"]
    with pytest.raises(SystemExit):  # rates above 1 are a mistake: such trials fail, the study goes on
        run(*words, "seed=range(0,99)", "hydra.sweeper.trials=3")
    assert {"finished", "refused"} == set(states(sweep)) and len(states(sweep)) == 3
    opened = search.opened(sweep, "maximize", search.Search(0, 2, 1))
    opened.ask()  # and there a process is killed
    run(*words, "seed=range(0,99)", "hydra.sweeper.trials=4")
    trials = search.opened(sweep, "maximize", search.Search(0, 2, 1)).get_trials()
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    assert [job.number for job in jobs.read(sweep)] == [0, 1, 2, 4]
    assert len({trial.params.get("seed", -1) for trial in trials}) > 3  # no suggestion came again
    for job in jobs.read(sweep):
        assert trials[job.number].values == ([job.metrics["mean"]] if job.state == "finished" else None)


@pytest.mark.slow
@needs_optuna
def test_bad_trials_are_given_up(run, tmp_path: Path) -> None:
    """Starts far off lose more at every step, so after two good trials the median is better by then."""
    sweep = tmp_path / "study"
    prune = {"metric": "loss", "startup": 2, "every": 1}
    words = [f"hydra.sweeper.pruning.{key}={value}" for key, value in prune.items()]
    steps = [f"stages.{stage}.trainer.max_steps=2" for stage in ("first", "second")]
    start = "stages.first.system.scene.geometry.start=0.0,50.0"
    more = ["hydra.sweeper.trials=7", f"hydra.sweep.dir={sweep}"]
    run("-m", *STUDY, *words, *steps, *more, start)
    good, bad = (
        [job.state for job in jobs.read(sweep)[2:] if end in job.overrides[-1]] for end in ("=0.0", "50.0")
    )
    assert set(good) <= {"finished", "pruned"} and "pruned" in bad
    pruned = next(job for job in jobs.read(sweep) if job.state == "pruned")
    assert not (pruned.folder / "second").exists() and "the median was better" in pruned.error
    assert "pruned" in (sweep / "summary.md").read_text()


def started(*overrides: str, delay: float = 0.0) -> subprocess.Popen[str]:
    path = os.pathsep.join((str(HERE), str(ROOT)))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TINY_DELAY": str(delay)}
    command = [sys.executable, str(ROOT / "launch.py"), "--config-dir", str(HERE / "configs"), "-m"]
    return subprocess.Popen(
        [*command, "experiment=tiny", *SHORT, *overrides],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "package"),
    [
        ("processes", "hydra_plugins.hydra_joblib_launcher"),
        ("slurm_here", "hydra_plugins.hydra_submitit_launcher"),
        ("ray_here", "hydra_plugins.hydra_ray_launcher"),
    ],
)
def test_runs_in_other_processes(tmp_path: Path, launcher: str, package: str) -> None:
    """A run that is refused in another process ends neither the others nor the summary."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package.rpartition('.')[2]} is not installed")
    sweep = tmp_path / "sweep"
    words = [f"outputs={tmp_path}", f"hydra.sweep.dir={sweep}", f"hydra/launcher={launcher}", "seed=0,1,-1"]
    with started(*words) as process:
        said = process.communicate()[0]
    assert process.returncode == 2, said
    assert "error: seed: expected a whole number from 0 to 4294967295, got -1" in said.splitlines()
    assert states(sweep) == ["finished", "finished", "refused"]
    assert "3 runs: 2 finished, 1 refused." in (sweep / "summary.md").read_text()


@pytest.mark.slow
def test_one_killed_worker_ends_no_other_job(tmp_path: Path) -> None:
    """The pool of processes breaks, and kills the worker of the other job, which had done nothing wrong."""
    if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None:
        pytest.skip("hydra-joblib-launcher is not installed")
    sweep = tmp_path / "sweep"
    words = [f"outputs={tmp_path}", f"hydra.sweep.dir={sweep}", "hydra/launcher=processes"]
    with started(*words, "seed=0,1,2,3", delay=8.0) as process:
        while not (runs := list((tmp_path / "tiny").glob("*/run.json"))):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        os.kill(worker(runs[0].parent), signal.SIGKILL)
        said = process.communicate()[0]
    assert process.returncode == 0 and "the others go on" in said, said
    assert states(sweep) == ["finished"] * 4


def worker(folder: Path) -> int:
    """The process that holds a run's folder."""
    inode = (folder / ".lock").stat().st_ino
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return next(int(words[4]) for words in locks if words[5].endswith(f":{inode}"))


@pytest.mark.slow
@needs_optuna
def test_a_killed_study_goes_on(tmp_path: Path) -> None:
    from threestudio_like.run import search

    sweep = tmp_path / "sweep"
    words = [f"outputs={tmp_path}", f"hydra.sweep.dir={sweep}", *STUDY, "hydra.sweeper.trials=3"]
    words.append("stages.first.system.rate=interval(0.01,0.1)")
    with started(*words, delay=5.0) as process:
        while len(list((sweep / "jobs").glob("*.json"))) < 2:  # the second trial has begun
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    with started(*words) as process:
        said = process.communicate()[0]
    assert process.returncode == 0, said
    trials = search.opened(sweep, "maximize", search.Search(0, 2, 1)).get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert len({trial.params["stages.first.system.rate"] for trial in trials}) == 4
    assert states(sweep)[1] in ("killed", "sent") and states(sweep)[2:] == ["finished", "finished"]
