"""The entry: compose, hand over to threestudio_like.run, exit code. `--help` lists the parts."""

from __future__ import annotations

import os
import sys

os.environ |= {"OMP_WAIT_POLICY": "passive", "TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ}  # before torch

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from threestudio_like.run.arguments import CONFIGS, checked, quoted
from threestudio_like.run.composition import MISTAKES, mistaken, said, tree_of

mistakes: list[Exception] = []  # of all runs of a sweep


def task(config: DictConfig) -> str | None:
    """One run; in a sweep a mistake ends this run only, and is given back."""
    runtime = HydraConfig.get()
    try:
        tree = tree_of(config, overrides := list(runtime.overrides.task))
        from threestudio_like.run.session import start  # mistakes so far need not wait for torch

        experiment = runtime.runtime.choices.get("experiment") or "none"
        start(tree, resume=config.resume, experiment=experiment, overrides=overrides, dry=config.dry)
    except MISTAKES as error:
        if not runtime.launcher["_target_"].endswith("BasicLauncher"):
            raise  # the others work in other processes, and bring back what is raised there
        return tell(error)


def tell(error: Exception) -> str:
    """One clear line, at once; the exit code follows when all is done."""
    mistakes.append(error)
    print("error:", line := said(error, sys.argv[1:], CONFIGS), file=sys.stderr)
    return line


def main() -> None:
    """Hydra's entry, with plain words for its complaints."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print
    mistakes.clear()
    try:
        sys.argv[1:] = checked(quoted(sys.argv[1:]))
        hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")(task)()
    except (ValueError, OSError, RecursionError, *MISTAKES) as error:
        if not mistaken(error):
            raise
        tell(error)
    except KeyboardInterrupt:
        sys.exit(130)  # what a shell expects after Ctrl-C
    if mistakes:
        sys.exit(2)


if __name__ == "__main__":
    main()
