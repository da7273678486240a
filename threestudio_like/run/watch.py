"""`viewer=on`: one viewer for all stages of a run, and what its button "export now" does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pytorch_lightning import Callback, LightningModule

from threestudio_like.run import finish, scenes
from threestudio_like.run.composition import build
from threestudio_like.run.folder import RunFolder

LIVE = "live"  # the folder of what was exported before the end


@contextmanager
def watching(config: Mapping[str, Any], folder: RunFolder) -> Iterator[list[Callback]]:
    """The callbacks to add to every stage's trainer: the viewer, where one is asked for."""
    if not config.get("viewer") or not folder.writes:
        yield []
        return
    viewer = build(config["viewer"], "viewer")

    def export(system: LightningModule, name: str, step: int) -> str:
        path, stage = folder.path / LIVE / f"{name}-{step:06d}", config["stages"][name]
        scenes.save(system.scene, stage["system"]["scene"], path)  # type: ignore[arg-type]
        part = build(config["export"], "export")
        made = part(**finish.asked_for(part, {**stage}, path, path))
        return str(next(iter(made.values()), path))

    viewer.export = export if config.get("export") else None
    try:
        yield [viewer]
    finally:
        viewer.close()
