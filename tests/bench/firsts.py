"""What the first call of our kernels costs: on a machine that never ran them, and from the cache on disk."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SMALLEST = Path(__file__).with_name("smallest.py")


def first_calls(cache: str) -> dict[str, float]:
    """Milliseconds that the first call takes more than the second, in a new process."""
    words = [sys.executable, str(SMALLEST)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    said = subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout
    return {what: float(took) for what, took in (line.split("\t") for line in said.splitlines())}


def report() -> str:
    """In markdown; a kernel that two rows share is counted in the first."""
    with tempfile.TemporaryDirectory() as cache:
        cold, warm = first_calls(cache), first_calls(cache)
    lines = ["| first call of | compiling, s | from the cache, s |", "| --- | ---: | ---: |"]
    lines += [f"| {what} | {cold[what] / 1000:.2f} | {warm[what] / 1000:.2f} |" for what in cold]
    totals = [sum(times.values()) / 1000 for times in (cold, warm)]
    return "\n".join([*lines, f"| all | {totals[0]:.2f} | {totals[1]:.2f} |"])


if __name__ == "__main__":
    print(report())
