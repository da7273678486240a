"""`make bench`: our kernels, our torch references and others' packages, at the same work, as ratios.

`make bench only=hashgrid` prints one table; names are those of the files here.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: waiting threads sleep
os.environ.setdefault("OMP_NUM_THREADS", "2")

import importlib
import platform
import time
import warnings
from pathlib import Path

import timing
import torch

OPS = ("hashgrid", "raster", "compositing", "isosurface", "splat", "uv")
REPORTS = ("memory", "firsts", "steps", "viewer")


def processor() -> str:
    """Its name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main(names: list[str]) -> None:
    """Print the tables asked for, all of them by default."""
    unknown = set(names) - {*OPS, *REPORTS}
    if unknown:
        sys.exit(f"no table {', '.join(sorted(unknown))}; they are {', '.join((*OPS, *REPORTS))}")
    warnings.filterwarnings("ignore")  # the peers'
    torch.set_num_threads(2)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{processor()}, {os.cpu_count()} cores, 2 threads, torch {torch.__version__}, load {load:.1f}")
    start = time.perf_counter()
    for name in names or (*OPS, *REPORTS):
        module = importlib.import_module(name)
        print(f"\n## {name}\n", flush=True)
        print(timing.table(timing.rows(module.contests())) if name in OPS else module.report(), flush=True)
    for package, why in timing.missed.items():
        print(f"\nskipped {package}: {why}")
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
