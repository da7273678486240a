"""What the YAML in a run's folder may name: it may be a stranger's, and `_target_` calls what it names.

Our parts, what our own YAML names, modules, optimisers, callbacks and loggers of the packages that runs are
built with, and the user's own modules, which only those find who have them. Nothing else is even imported.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import re
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from threestudio_like.run.errors import UserError, joined
from threestudio_like.run.signatures import CONFIGS, located

HOUSE = ("threestudio_like", "systems", "hydra_plugins")
BUILT_WITH = ("torch", "pytorch_lightning")
DOERS = "threestudio_like.run."  # they write folders and call git
DEPTHS = range(5)  # outputs/experiment/of-two-words/name/run.json
SCHEDULES = "threestudio_like.schedule."  # functions


def check_loaded(tree: Any, key: str) -> None:
    """Every `_target_` in a file that a run left."""
    if isinstance(tree, Mapping):
        if "_target_" in tree:
            check_target(tree["_target_"], key)
        for name, value in tree.items():
            check_loaded(value, joined(key, str(name)))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            check_loaded(value, joined(key, str(index)))


def check_target(path: Any, key: str) -> None:
    """One of them, by its name first: importing a module runs it."""
    parts = path.split(".") if isinstance(path, str) else []
    refusal = UserError(f"{joined(key, '_target_')}: {path!r} is nothing that a run is built of")
    foreign = bool(parts) and parts[0] not in HOUSE and installed(parts[0])
    strange = foreign and parts[0] not in BUILT_WITH and path not in named()
    theirs = bool(parts) and not foreign and parts[0] not in HOUSE
    if "__main__" in parts or strange or theirs and holds_runs(parts[0]):
        raise refusal
    target = located(path, key)
    if path in named():
        return
    if parts[0] in HOUSE:
        ours = inspect.isclass(target) and not path.startswith(DOERS) or path.startswith(SCHEDULES)
        if not ours or not str(target.__module__).startswith(HOUSE):  # a.b.torch.load
            raise refusal
    elif foreign and not (inspect.isclass(target) and issubclass(target, kinds())):
        raise refusal


def installed(package: str) -> bool:
    """Whether it comes with Python or from elsewhere, and is not the user's own."""
    homes = tuple(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    return any(place.startswith(homes) for place in places(package))


def holds_runs(package: str) -> bool:
    """Whether it is a folder of runs, such as `outputs`: Python takes any folder for a package."""
    return any(
        next(Path(place).glob("*/" * depth + "run.json"), None)
        for place in places(package)
        for depth in DEPTHS
    )


def places(package: str) -> list[str]:
    """Where Python finds it, without importing it."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    found = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or [])]
    return [place for place in found if place]  # a folder without __init__.py has no origin


def kinds() -> tuple[type, ...]:
    """Of other packages' classes, those that do nothing when they are made."""
    from pytorch_lightning import Callback, LightningDataModule
    from pytorch_lightning.loggers import Logger
    from pytorch_lightning.plugins import CheckpointIO, Precision
    from torch import nn, optim

    return nn.Module, optim.Optimizer, Callback, LightningDataModule, Logger, CheckpointIO, Precision


@functools.cache
def named() -> frozenset[str]:
    """Every `_target_` in our YAML."""
    texts = [file.read_text(encoding="utf-8") for file in CONFIGS.rglob("*.yaml")]
    return frozenset(path for text in texts for path in re.findall(r"_target_: *([\w.]+)", text))
