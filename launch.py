"""The entry: compose, hand over to threestudio_like.run, exit code. `--help` lists the parts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: waiting threads sleep

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from threestudio_like.run.arguments import quoted
from threestudio_like.run.composition import MISTAKES, said

CONFIGS = Path(__file__).resolve().parent / "configs"
INTERRUPTED = 130  # what a shell expects after Ctrl-C


def task(config: DictConfig) -> None:
    """One run; in a sweep a mistake ends this run only."""
    from threestudio_like.run.session import start  # after composing: mistakes there need not wait for torch

    runtime = HydraConfig.get()
    overrides = list(runtime.overrides.task)
    try:
        start(config, experiment=runtime.runtime.choices["experiment"], overrides=overrides)
    except MISTAKES as error:
        if runtime.mode == RunMode.MULTIRUN:
            raise
        stop(error)


def stop(error: Exception) -> None:
    """One clear line."""
    print(f"error: {said(error, sys.argv[1:], CONFIGS)}", file=sys.stderr)
    sys.exit(2)


def main() -> None:
    """Hydra's entry, with plain words for its complaints."""
    sys.argv[1:] = quoted(sys.argv[1:])
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print
    try:
        hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")(task)()
    except MISTAKES as error:
        stop(error)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
