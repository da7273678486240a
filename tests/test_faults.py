"""Runs that are killed, shut out and interrupted: each goes on to the result of an unbroken one."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests import test_pipeline as pipeline

ROOT = Path(__file__).parents[1]
HERE = ROOT / "tests" / "run"
TINY = ["--config-dir", str(HERE / "configs"), "experiment=tiny"]
DEATHS = 25


def started(*words: str, script: Path = ROOT / "launch.py", **environment: str) -> subprocess.Popen[str]:
    """In the background, both outputs in one pipe."""
    surroundings = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, str(script), *words]
    return subprocess.Popen(
        command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and what it said."""
    said = process.communicate(timeout=3000)[0]
    return process.returncode, said


def faulty(kind: str, number: int, *words: str, delay: float = 0.0) -> tuple[int, str]:
    """With a fault in it (run/dying.py)."""
    return ended(started(kind, str(number), str(delay), *words, script=HERE / "dying.py"))


def scenes(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The numbers that each stage left."""
    found = {file.parent.name: file for file in folder.glob("*/scene.safetensors")}
    return {name: safetensors.torch.load_file(file) for name, file in found.items()}


def same(one: object, other: object) -> bool:
    """Bit for bit, whatever it is made of."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(one[k], other[k]) for k in one)
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))  # type: ignore[arg-type]
    return one == other


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run that nothing disturbs."""
    outputs = tmp_path_factory.mktemp("unbroken")
    code, said = ended(started(*TINY, f"outputs={outputs}", "name=a"))
    assert code == 0, said
    return outputs / "tiny" / "a"


@pytest.mark.slow
def test_killed_in_the_midst_of_a_checkpoint(unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "a"
    code, said = faulty("torn-last.ckpt", 2, *TINY, f"outputs={tmp_path}", "name=a")
    assert code == -signal.SIGKILL, said
    place = folder / "first" / "checkpoints"
    left = sorted(place.iterdir())
    assert len(left) == 2  # half a file, under a name of its own
    assert torch.load(place / "last.ckpt", weights_only=True)["global_step"] == 7
    code, said = ended(started(f"resume={folder}"))
    assert code == 0, said
    assert same(scenes(folder), scenes(unbroken))


@pytest.mark.slow
def test_a_disk_that_is_full_half_way_through_a_checkpoint(unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "a"
    code, said = faulty("full-last.ckpt", 2, *TINY, f"outputs={tmp_path}", "name=a")
    last = folder / "first" / "checkpoints" / "last.ckpt"
    lines = [line for line in said.splitlines() if "rror" in line]
    assert code == 2 and len(lines) == 1, said
    assert lines[0].startswith(f"error: cannot write {last} (No space left on device; ")
    assert lines[0].endswith(" MB free there)")
    assert list(last.parent.iterdir()) == [last]
    assert torch.load(last, weights_only=True)["global_step"] == 7
    assert json.loads((folder / "run.json").read_text())["state"] == "failed"
    code, said = ended(started(f"resume={folder}"))
    assert code == 0, said
    assert same(scenes(folder), scenes(unbroken))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.slow
def test_a_small_disk_and_then_one_that_is_read_only(unbroken: Path, small: Path) -> None:
    """Real ones: whatever comes to be written there first, libraries' files too."""
    command = [*TINY, f"outputs={small}", "name=a", "stages.second.system.scene.geometry.size=5"]
    ballast = small / "ballast"
    with started(*command, TINY_DELAY="0.1") as process:
        wait_for(small / "tiny/a/first/checkpoints/last.ckpt", process)
        ballast.write_bytes(bytes(max(0, shutil.disk_usage(small).free)))
        code, said = ended(process)
    lines = [line for line in said.splitlines() if "rror" in line]
    assert code == 2 and len(lines) == 1, said
    assert "error: cannot write " in said and "No space left on device; 0.0 MB free there" in said
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    for words in ([f"resume={small}/tiny/a"], [*command, "name=b"]):
        code, said = ended(started(*words))
        assert code == 2 and len(said.splitlines()) == 1 and "Read-only file system" in said, said
    subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)
    ballast.unlink()
    code, said = ended(started(f"resume={small}/tiny/a"))
    assert code == 0, said
    assert same(scenes(small / "tiny/a"), scenes(unbroken))


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    """Until the run has written it."""
    deadline = time.monotonic() + 300
    while not file.exists():
        assert process.poll() is None and time.monotonic() < deadline, ended(process)
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_once_saves_and_stops(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "tiny" / "a"
    with started(*TINY, f"outputs={tmp_path}", "name=a", TINY_DELAY="0.3") as process:
        wait_for(folder / "first/metrics.jsonl", process)
        process.send_signal(number)
        code, said = ended(process)
    assert code == 130 and "Traceback" not in said, said
    assert "stopping when this step is done and saved" in said
    assert f"to go on: python launch.py resume={folder}" in said.splitlines()[-1]
    assert (folder / "first/checkpoints/last.ckpt").exists()
    assert json.loads((folder / "run.json").read_text())["state"] == "interrupted"


def test_twice_quits_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "a"
    mark = tmp_path / "mark"
    settings = {"TINY_DELAY": "100", "TINY_MARK": str(mark)}
    with started(*TINY, f"outputs={tmp_path}", "name=a", **settings) as process:
        wait_for(mark, process)
        time.sleep(0.2)  # now it is in a step of 100 seconds
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None  # it waits for the step
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        code, said = ended(process)
    assert time.monotonic() - began < 20  # not the step
    assert code == 130 and "Traceback" not in said, said
    assert not (folder / "first/checkpoints").exists()


@pytest.fixture
def lives() -> Iterator[Callable[..., tuple[int, str]]]:
    """(kind of fault, its number, its delay, words) to exit code and words: run/dying.py, imported once."""
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "dying.py")]
    with subprocess.Popen(
        command, env=surroundings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None and server.stdout is not None

        def lived(*life: object) -> tuple[int, str]:
            print(json.dumps(life), file=server.stdin, flush=True)
            code, said = json.loads(server.stdout.readline())
            return code, said

        yield lived
        server.stdin.close()


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path, lives: Callable[..., tuple[int, str]]) -> None:
    """DreamCraft3D, tiny: killed and resumed until it has died so often; every run that ends is the same."""
    seed = int(os.environ.get("FAULT_SEED", random.SystemRandom().randrange(10**6)))
    print(f"FAULT_SEED={seed}")
    rng, deaths, runs = random.Random(seed), 0, 0
    words = [
        *pipeline.command(tmp_path)[2:],
        "stages.texture.trainer.max_steps=30",
        "score=null",
        "export=null",
    ]
    words = [word for word in words if not word.startswith("export.")]
    folder = tmp_path / "dreamcraft3d/small/run-0"
    whole = folder.with_name("whole")
    code, said = lives("none", 0, 0.0, [*words, "name=whole"])
    assert code == 0, said
    ways = (
        ["step"] * 6
        + ["torn"] * 3
        + ["torn-last.ckpt", "unrenamed-last.ckpt", "unrenamed", "renamed", "clock"]
    )
    while deaths < DEATHS:
        begun = (folder / "run.json").exists()
        task = [f"resume={folder}"] if begun else [*words, f"name={folder.name}"]
        kind, number, delay = rng.choice(ways), rng.randint(1, 6), rng.uniform(0, 0.5)
        if not begun:
            kind, number = "step", rng.randint(1, 4)
        if kind == "clock":
            delay = rng.uniform(0, 10)
        code, said = lives(kind, number, delay, task)
        print(f"death {deaths + 1}: {kind} {number} {delay:.2f} -> {code}, {told(folder)}", flush=True)
        if code == 0:
            assert same(scenes(folder), scenes(whole))
            runs += 1
            folder = folder.with_name(f"run-{runs}")
        else:
            assert code == -signal.SIGKILL, said
            deaths += 1
    code, said = lives("none", 0, 0.0, [f"resume={folder}"])
    assert code == 0, said
    assert list(scenes(whole)) != [] and same(scenes(folder), scenes(whole))
    one, other = (torch.load(last(run), weights_only=True)["state_dict"] for run in (folder, whole))
    assert any("dreambooth" in name for name in one) and same(dict(one), dict(other))


def told(folder: Path) -> str:
    """How far a run has come."""
    stages = json.loads((folder / "run.json").read_text()).get("stages", {})
    steps = {
        name: torch.load(file, weights_only=True)["global_step"]
        for name in stages
        if (file := folder / name / "checkpoints" / "last.ckpt").exists()
    }
    return ", ".join(f"{name} {stage.get('state')} at {steps.get(name, 0)}" for name, stage in stages.items())


def last(folder: Path) -> Path:
    """The last stage's checkpoint: the networks that it has trained, and their pool of pictures."""
    return folder / "texture" / "checkpoints" / "last.ckpt"
