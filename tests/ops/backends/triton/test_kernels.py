"""All kernels compile, down to the instructions of a GPU, though the tests here only interpret them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
KERNELS = ROOT / "threestudio_like" / "ops" / "backends" / "triton"


def launched():
    """Names of the kernels that are launched, file by file."""
    for file in KERNELS.glob("*.py"):
        for name in re.findall(r"\blaunch\(\s*(\w+),", file.read_text()):
            yield f"{file.stem}.{name}"


@pytest.mark.slow
def test_every_kernel_compiles(tmp_path):
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    program = [sys.executable, str(Path(__file__).with_name("compile_all.py"))]
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == set(launched())
