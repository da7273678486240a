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
    ],
)
def test_composing_is_quick(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    done = launched(*arguments, cwd=tmp_path)
    assert done.returncode == code and said in done.stdout + done.stderr and "Traceback" not in done.stderr
    assert "hydra" in imported(done) and not imported(done) & {"torch", "pytorch_lightning", "numba"}
    assert not list(tmp_path.iterdir())
