"""`resume=auto`: go on with the newest run of the same settings, so that a killed sweep can be repeated.

Settings are those of the whole tree but for what says nothing of the result: its labels, the ops' backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from threestudio_like.run.composition import leaves, plain
from threestudio_like.run.errors import UserError
from threestudio_like.run.folder import recorded
from threestudio_like.run.inputs import AUTO, at

SILENT = ("resume", "reuse", "dry", "tags", "note", "ops.backend")


def chosen(resume: str | None, tree: Mapping[str, Any], experiment: str) -> Path | None:
    """The folder to go on with: the one that is named, or found; None for a new run."""
    if resume != AUTO:
        return None if resume is None else at(resume)
    alike = [folder for folder in folders(at(tree["outputs"]) / experiment) if same(folder, tree)]
    return max(alike, key=lambda folder: (finished(folder), began(folder)), default=None)


def folders(parent: Path) -> list[Path]:
    """Of runs that have their record."""
    return [file.parent for file in parent.glob("*/run.json") if file.with_name("config.yaml").is_file()]


def same(folder: Path, tree: Mapping[str, Any]) -> bool:
    """Whether a run was begun with these settings; one whose record is damaged was not."""
    try:
        return settings(plain(folder / "config.yaml")) == settings(tree)
    except UserError:
        return False


def settings(tree: Mapping[str, Any]) -> dict[str, Any]:
    """By full key."""
    return {name: value for name, value in leaves(tree, "") if name not in SILENT}


def finished(folder: Path) -> bool:
    """Whether nothing is left to do."""
    return recorded(folder / "run.json").get("state") == "finished"


def began(folder: Path) -> str:
    """When the run in this folder did, or nothing; times of one zone sort as text."""
    return str(recorded(folder / "run.json").get("started", ""))
