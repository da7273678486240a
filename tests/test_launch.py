"""The entry from outside: composing needs no torch, works from any folder, and leaves nothing behind."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def launched(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-X", "importtime", str(ROOT / "launch.py"), *arguments]
    return subprocess.run(program, cwd=cwd, capture_output=True, text=True)


def imported(done: subprocess.CompletedProcess[str]) -> set[str]:
    return {
        line.rpartition("|")[2].strip()
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--cfg", "job", "--resolve"], 0, "_target_: pytorch_lightning.Trainer"),
        (["experiment=dreamcraft3d/smal"], 2, "did you mean 'dreamcraft3d/small'?"),
        (["image=nothing.png"], 2, "error: image: no such file 'nothing.png'"),
        (["object=."], 2, "error: object: '.' is a folder; expected a mesh's file, such as GLB or OBJ"),
        (["resume="], 2, "error: resume: expected the folder of a run, got ''"),
        (["-m", "outputs=", "seed=0,1"], 2, "error: outputs: expected a folder, got ''"),
        (["-m", "outputs=/proc/none", "seed=0,1"], 2, "error: cannot write in '/proc/none"),
        (["plan=coarse"], 2, "error: plan: expected a list, got 'coarse'; write plan=[coarse]"),
        (["--multirum", "seed=0,1"], 2, "error: --multirum: no such flag; did you mean '--multirun'?"),
    ],
)
def test_composing_is_quick(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    done = launched(*arguments, cwd=tmp_path)
    errors = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert (
        done.returncode == code and said in (errors[0] if code else done.stdout) and len(errors) == bool(code)
    )
    assert "hydra" in imported(done) and not imported(done) & {"torch", "pytorch_lightning", "numba"}
    assert not list(tmp_path.iterdir())
