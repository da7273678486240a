"""`reuse=true`: a stage that a run in `outputs` has finished from the same settings is taken from there.

Variants of a texture then share their coarse stage. Two stages are the same if all that decides is: their
settings and those of the stages before, seed, ops, the files that these name, code, versions, machine.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from threestudio_like.cache import digest
from threestudio_like.files import writing
from threestudio_like.run import scenes
from threestudio_like.run.composition import leaves
from threestudio_like.run.folder import CHANGES, RunFolder, recorded
from threestudio_like.run.inputs import SCENE, at
from threestudio_like.run.plan import planned

ROOTS = ("seed", "ops", "init")  # of the tree: what decides beside the stages
CIRCUMSTANCES = ("versions", "revision", "machine")  # of the record


def key(name: str, tree: Mapping[str, Any], folder: RunFolder) -> str:
    """Equal for stages whose results are."""
    plan = planned(tree)
    values = {each: tree["stages"][each] for each in plan[: plan.index(name) + 1]}
    settings = sorted((where, repr(value)) for where, value in leaves(values, ""))
    around = [[each, repr(tree.get(each))] for each in ROOTS]
    words = {str(value) for _, value in leaves({**values, "init": tree.get("init")}, "")}
    code = [folder.manifest.get(each) for each in CIRCUMSTANCES]
    changes = folder.path / CHANGES
    if str(folder.manifest.get("revision")).endswith("+") and changes.is_file():
        code.append(changes.read_text())
    return digest(settings, around, code, stamps(words))


def stamps(words: Iterable[str]) -> list[tuple[str, int, int]]:
    """Of the files that settings name, and of a scene's: how large, how old."""
    files = [Path(word, part) for word in sorted(words) if word.startswith("/") for part in ("", *SCENE)]
    return [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]


def found(name: str, tree: Mapping[str, Any], folder: RunFolder) -> Path | None:
    """The same stage in another run's folder, if it is finished; one of several devices is not looked for."""
    trainer = tree["stages"][name]["trainer"]
    if not tree.get("reuse") or trainer.get("devices") != 1 or trainer.get("num_nodes", 1) != 1:
        return None
    if folder.part("stages", name) or not folder.writes:  # it has begun
        return None
    wanted = key(name, tree, folder)
    for file in sorted(at(tree["outputs"]).glob("*/**/run.json")):
        stage = (recorded(file).get("stages") or {}).get(name) or {}
        if (
            stage.get("state") == "finished"
            and stage.get("key") == wanted
            and scenes.saved(file.parent / name)
        ):
            return file.parent / name
    return None


def take(other: Path, folder: RunFolder) -> dict[str, Any]:
    """A copy of all but its checkpoints, whole or absent; what the other's record says of it."""
    place, partial = folder.path / other.name, folder.path / ".taken"
    with writing(folder.path):
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(other, partial, ignore=shutil.ignore_patterns("checkpoints", ".*"))
        shutil.rmtree(place, ignore_errors=True)
        os.replace(partial, place)
    said = recorded(other.parent / "run.json")["stages"][other.name]
    return {**said, "taken": str(other)}
