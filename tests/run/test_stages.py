"""Resume: killed, interrupted, finished; always to the same numbers, bit for bit."""

import ast
import copy
import errno
import functools
import json
import operator
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from threestudio_like import files
from threestudio_like.run import folder
from threestudio_like.run.checkpoints import AtomicCheckpointIO
from threestudio_like.run.errors import UserError
from threestudio_like.run.folder import RunFolder
from threestudio_like.run.stages import check_parts

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def started(*overrides: str, delay: float = 0.0) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", "TINY_DELAY": str(delay)}
    command = [sys.executable, str(ROOT / "launch.py"), "--config-dir", str(HERE / "configs"), *overrides]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def numbers(folder: Path, stage: str) -> torch.Tensor:
    return safetensors.torch.load_file(folder / stage / "scene.safetensors")["geometry.values"]


def when_there(file: Path, process: subprocess.Popen[str]) -> None:
    while not file.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("outputs")
    with started("experiment=tiny", f"outputs={outputs}", "name=unbroken") as process:
        said = process.communicate()[0]
    assert process.returncode == 0, said
    return outputs / "tiny" / "unbroken"


@pytest.fixture
def unbroken(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "unbroken"))


@pytest.mark.parametrize(
    ("signum", "code"),
    [
        pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow),
        (signal.SIGINT, 130),
    ],  # test_pipeline.py kills, too
)
def test_stopped_and_resumed(run, unbroken: Path, tmp_path: Path, signum: int, code: int) -> None:
    folder = tmp_path / "outputs/tiny/broken"
    with started("name=broken", "experiment=tiny", f"outputs={tmp_path}/outputs", delay=0.15) as process:
        when_there(folder / "second/checkpoints/last.ckpt", process)
        with pytest.raises(UserError, match="another process is at work"):
            RunFolder(folder, writes=True)
        process.send_signal(signum)
        said = process.communicate()[0]
    assert process.returncode == code, said
    assert not (folder / "second/scene.safetensors").exists()
    first = (folder / "first/scene.safetensors").stat().st_mtime_ns
    step = torch.load(folder / "second/checkpoints/last.ckpt", weights_only=True)["global_step"]
    assert 7 <= step < 30
    if signum == signal.SIGINT:
        assert said.splitlines()[-1] == f"stopped; to go on: python launch.py resume={folder}"
        assert json.loads((folder / "run.json").read_text())["state"] == "interrupted"
    run(f"resume={folder}")
    assert (folder / "first/scene.safetensors").stat().st_mtime_ns == first  # skipped
    lines = [json.loads(line)["step"] for line in (folder / "second/metrics.jsonl").read_text().splitlines()]
    assert lines[-1] == 29
    for stage in ("first", "second"):
        assert torch.equal(numbers(folder, stage), numbers(unbroken, stage))
    assert json.loads((folder / "run.json").read_text())["state"] == "finished"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, r"No space left on device; [\d.]+ MB free there"),
        pytest.param(errno.EROFS, "Read-only file system", marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_that_cannot_be_written(
    run, refused, unbroken: Path, tmp_path: Path, number: int, reason: str
) -> None:
    last, saves, flush = tmp_path / "outputs/tiny/full/first/checkpoints/last.ckpt", [], files._flush

    def failing(path: Path) -> None:
        saves.append(path.name.endswith("last.ckpt"))
        if sum(saves) == 2 and saves[-1]:
            raise OSError(number, os.strerror(number))
        flush(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_flush", failing)
        said = refused("name=full")
    assert re.fullmatch(rf"cannot write {re.escape(str(last))} \({reason}\)", said)
    assert list(last.parent.iterdir()) == [last]
    assert torch.load(last, weights_only=True)["global_step"] == 7  # the one before
    run(f"resume={last.parents[2]}")
    assert torch.equal(numbers(last.parents[2], "second"), numbers(unbroken, "second"))


def test_a_folder_that_cannot_be_written(refused, unbroken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shut(path: Path, *_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(folder, "open", shut, raising=False)
    assert refused(f"resume={unbroken}") == f"cannot write {unbroken}/.lock (Read-only file system)"


@pytest.mark.parametrize("change", ["system.scene.geometry.size=6", "system=other"])
def test_a_checkpoint_of_another_stage(refused, run, unbroken: Path, tmp_path: Path, change: str) -> None:
    other = run("name=other", "plan=[first]", "stages.first.system.scene.geometry.size=6") / "tiny/other"
    last = other / "first/checkpoints/last.ckpt"
    if change == "system=other":
        torch.save({"epoch": 3, "model": {}}, last)
    shutil.copy(last, unbroken / "first/checkpoints/last.ckpt")
    record = json.loads((unbroken / "run.json").read_text())
    record["stages"]["first"]["state"] = "running"
    (unbroken / "run.json").write_text(json.dumps(record))
    said = refused(f"resume={unbroken}")
    assert said.startswith(f"resume: {unbroken}/first/checkpoints/last.ckpt: ")
    why = (
        "not a whole checkpoint" if change == "system=other" else "of a stage with other parts (size mismatch"
    )
    assert why in said and said.endswith("; move it away, and the stage begins anew")


EDITS = ("optimizer_states/0/state/0/exp_avg_sq=-1.0", "callbacks={}")


def edited(tree: dict, edit: str) -> dict:
    """A copy, in which a tensor stays one."""
    tree = copy.deepcopy(tree)
    names, _, text = edit.partition("=")
    *before, name = (int(part) if part.isdigit() else part for part in names.split("/"))
    place = functools.reduce(operator.getitem, before, tree)
    value = ast.literal_eval(text)
    place[name] = torch.tensor(value) if isinstance(place[name], torch.Tensor) else value
    return tree


@pytest.fixture
def unfinished(unbroken: Path) -> Path:
    """A run whose first stage has a checkpoint, and more to do."""
    record = json.loads((unbroken / "run.json").read_text())
    record["stages"]["first"]["state"] = "running"
    (unbroken / "run.json").write_text(json.dumps(record))
    file = unbroken / "config.yaml"
    file.write_text(file.read_text().replace("max_steps: 30", "max_steps: 60"))
    return unbroken


def test_an_edited_checkpoint(refused, unfinished: Path) -> None:
    last = unfinished / "first/checkpoints/last.ckpt"
    sound = torch.load(last, weights_only=True)
    words = "it was changed after it was written"
    for edit in EDITS:
        torch.save(edited(sound, edit), last)
        before = last.read_bytes()
        line = f"resume: {last}: not a whole checkpoint ({words}); move it away, and the stage begins anew"
        assert refused(f"resume={unfinished}") == line
        assert last.read_bytes() == before


def test_a_checkpoint_of_another_optimiser(refused, unfinished: Path) -> None:
    last = unfinished / "first/checkpoints/last.ckpt"
    found = torch.load(last, weights_only=True)
    found["optimizer_states"][0]["param_groups"][0].pop("betas")
    AtomicCheckpointIO().save_checkpoint({name: found[name] for name in found if name != "digest"}, last)
    assert "of a stage with other parts (no 'betas' for Adam)" in refused(f"resume={unfinished}")


def test_a_checkpoint_that_is_a_link_to_nothing(refused, unfinished: Path) -> None:
    last = unfinished / "first/checkpoints/last.ckpt"
    last.unlink()
    last.symlink_to(unfinished / "gone.ckpt")
    assert "last.ckpt: not a whole checkpoint (no file)" in refused(f"resume={unfinished}")
    shutil.rmtree(last.parent)
    last.parent.symlink_to(unfinished / "gone")
    assert "last.ckpt: not a whole checkpoint (no file)" in refused(f"resume={unfinished}")


@pytest.mark.parametrize("change", ["another run", "another stage"])
def test_a_checkpoint_of_another(refused, unfinished: Path, change: str) -> None:
    last = unfinished / "first/checkpoints/last.ckpt"
    if change == "another stage":
        shutil.copy(unfinished / "second/checkpoints/last.ckpt", last)
    else:
        record = json.loads((unfinished / "run.json").read_text())
        (unfinished / "run.json").write_text(json.dumps({**record, "started": "2026-01-01T00:00:00+0000"}))
    said = refused(f"resume={unfinished}")
    assert said.startswith(f"resume: {last}: of another run, or of another of its stages; move it away")


def test_next_stage_begins_from_the_scene(run) -> None:
    same = ("stages.second.system.rate=0.0", "stages.second.trainer.max_steps=1")
    folder = run(*same) / "tiny/a-configured-prompt"
    assert torch.equal(numbers(folder, "first"), numbers(folder, "second"))


def test_stages_one_by_one(run, unbroken: Path, tmp_path: Path) -> None:
    folder = run("plan=[first]", "name=parts") / "tiny/parts"
    assert not (folder / "second").exists()
    run(f"resume={folder}", "plan=[first,second]")
    assert torch.equal(numbers(folder, "second"), numbers(unbroken, "second"))


def test_finished_run_is_left_alone(run, unbroken: Path) -> None:
    files = {
        p: p.stat().st_mtime_ns for p in unbroken.rglob("*") if p.suffix in (".safetensors", ".txt", ".ckpt")
    }
    run(f"resume={unbroken}")
    after = {p: p.stat().st_mtime_ns for p in files if p.name != "log.txt"}
    assert after.items() <= files.items()


def test_resume_keeps_its_settings(refused, unbroken: Path) -> None:
    said = refused(f"resume={unbroken}", "seed=3")
    assert said.startswith("seed: a resumed run keeps its settings")
    said = refused(f"resume={unbroken}", "~export")
    assert said == "~export: a resumed run keeps its steps; only a new one leaves any out"


def test_resume_takes_its_own_values_and_another_export(run, unbroken: Path) -> None:
    run(f"resume={unbroken}", "seed=0", "+export.suffix=obj")
    assert (unbroken / "export/model.obj").exists()
    assert "export.suffix" not in (unbroken / "log.txt").read_text()  # asked for, so no surprise


def test_resume_tells_what_changed(run, unbroken: Path) -> None:
    config = unbroken / "config.yaml"
    config.write_text(config.read_text().replace("rate: 0.05", "rate: 0.04", 1))
    run(f"resume={unbroken}")
    assert "stages.first.system.rate (0.04 then, 0.05 now)" in (unbroken / "log.txt").read_text()


STAGE = {
    "system": {"_target_": "pytorch_lightning.LightningModule"},
    "data": {"_target_": "pytorch_lightning.LightningDataModule"},
    "trainer": {"_target_": "pytorch_lightning.Trainer", "devices": 1},
}


def test_steps_are_parts() -> None:
    with pytest.raises(UserError, match="score: expected a part, or null, got 3"):
        check_parts({"stages": {"a": STAGE}, "score": 3})


@pytest.mark.parametrize(
    ("trainer", "line"),
    [
        ({"devices": 2}, "stages.b.trainer.devices: stages of one run share their devices; got 2, stages.a"),
        (
            {"max_stepz": 2},
            "stages.b.trainer.max_stepz: Trainer has no such setting; did you mean 'max_steps'?",
        ),
    ],
)
def test_check_parts(trainer: dict, line: str) -> None:
    with pytest.raises(UserError) as caught:
        check_parts({"stages": {"a": STAGE, "b": {**STAGE, "trainer": {**STAGE["trainer"], **trainer}}}})
    assert str(caught.value).startswith(line)
