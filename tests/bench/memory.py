"""Peak memory of one forward and backward pass beyond what was there before, each in a process of its own.

Linux counts it (VmHWM, which writing 5 to clear_refs sets back to what is in use); elsewhere nothing is said.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from timing import Contest

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# module, the number of its contest, the sides that are compared
ASKED = (
    ("hashgrid", 1, ("ours", "nerfstudio, torch", "Warp")),
    ("hashgrid", 3, ("ours", "nerfstudio, torch", "Warp")),
    ("raster", 2, ("ours", "deodr", "PyTorch3D, hard, K=1")),
    ("compositing", 0, ("ours", "nerfacc, dense")),
    ("isosurface", 0, ("ours", "published, torch")),
)


def counted(name: str) -> float:
    """A line of the process's status, in MB."""
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) / 1024


def asked(module: str, number: int) -> Contest:
    """One of a module's contests."""
    settings = {"keep": False} if module == "hashgrid" else {}  # what is made before is not seen
    contests: Iterator[Contest] = importlib.import_module(module).contests(**settings)
    return next(contest for k, contest in enumerate(contests) if k == number)


def peak(module: str, number: int, whose: str) -> float:
    """MB of one side's second call: the first compiles. nan if that side is not here."""
    sides = asked(module, number).sides
    if whose not in sides:
        return float("nan")
    sides[whose]()
    RESET.write_text("5")
    before = counted("VmRSS")
    sides[whose]()
    return counted("VmHWM") - before


def measured(module: str, number: int, whose: str) -> float:
    """The same from a new process, in which what is freed goes back to the system at once."""
    words = [sys.executable, __file__, module, str(number), whose]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    run = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    return float(run.stdout.splitlines()[-1])


def report() -> str:
    """In markdown."""
    if not RESET.exists():
        return "peak memory: not measured, this system does not count it"
    lines = ["| peak memory of | whose | MB | ÷ ours |", "| --- | --- | ---: | ---: |"]
    for module, number, names in ASKED:
        found = {whose: measured(module, number, whose) for whose in names}
        for whose, size in found.items():
            if size == size:  # not nan
                what = f"{module}, contest {number + 1}"
                lines.append(f"| {what} | {whose} | {size:.0f} | {size / max(found['ours'], 1):.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(peak(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
    else:
        print(report())
