"""What a run tells its loggers beside what Lightning does: what it is set to, what it made, how good it is.

A logger is told what it has methods for, named as those of Lightning's WandbLogger: log_image, log_video,
log_mesh, log_table, log_result; instead of the last, Lightning's own log_hyperparams and log_metrics will do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer

from threestudio_like.loggers.dials import Dials
from threestudio_like.loggers.images import to_bytes
from threestudio_like.run import jobs
from threestudio_like.run.composition import build, leaves
from threestudio_like.run.errors import joined
from threestudio_like.schedule.anneal import Schedule

ANNEAL = "threestudio_like.schedule.anneal."
PLACES = ("name", "outputs", "resume")  # of the configuration: they say where, not what
PICTURES = ("preview", "front")  # of an export


def begin(trainer: Trainer, stage: Mapping[str, Any], key: str) -> None:
    """Before a stage: its settings, and its schedules to the dials that will read them."""
    if not trainer.is_global_zero:
        return
    for logger in trainer.loggers:
        logger.log_hyperparams({name: stage[name] for name in ("system", "data")})
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Dials):
            callback.schedules = dict(schedules({**stage, "trainer": None}, "", key))


def schedules(tree: Any, name: str, key: str) -> Iterator[tuple[str, Schedule]]:
    """Every schedule of a stage's configuration, by its place there, but constants, and weights."""
    if isinstance(tree, Mapping):
        target = str(tree.get("_target_", ""))
        if target.startswith(ANNEAL):
            if not target.endswith(".constant") and not tree.get("_partial_"):
                yield name, build(tree, joined(key, name))
            return
        for part, value in tree.items():
            if joined(name, str(part)) != "system.weights":
                yield from schedules(value, joined(name, str(part)), key)


def close(loggers: Sequence[Any]) -> None:
    """The end of a stage."""
    for logger in loggers:
        if hasattr(logger, "close"):
            logger.close()


def finished(config: Mapping[str, Any], folder: Path, nodes: Mapping[str, Any]) -> None:
    """After the last step of a run: its scores and its model, to loggers in the run's own folder."""
    loggers = built(nodes, "trainer.logger")
    settings = {
        k: v for k, v in leaves({k: v for k, v in config.items() if k not in PLACES}, "") if v is not None
    }
    export = folder / "export"
    for logger in loggers:
        tell(logger, settings, jobs.numbers(folder))
        if (export / "turntable.mp4").exists() and hasattr(logger, "log_video"):
            logger.log_video("turntable", [str(export / "turntable.mp4")], step=0)
    show_pictures({name: export / f"{name}.png" for name in PICTURES}, loggers)
    show_model(export / "model.glb", [logger for logger in loggers if hasattr(logger, "log_mesh")])
    for logger in loggers:
        logger.finalize("success")  # now, not when the process ends: the run may be read before
    close(loggers)


def built(nodes: Mapping[str, Any], key: str) -> list[Any]:
    """Loggers whose folder is filled in."""
    return [build(node, joined(key, name)) for name, node in nodes.items()]


def tell(logger: Any, settings: Mapping[str, Any], scores: Mapping[str, float]) -> None:
    """Settings with scores."""
    if hasattr(logger, "log_result"):
        logger.log_result(settings, scores)
        return
    logger.log_hyperparams(dict(settings))
    logger.log_metrics({f"result/{name}": value for name, value in scores.items()}, 0)


def show_pictures(files: Mapping[str, Path], loggers: Sequence[Any]) -> None:
    """Pictures from files."""
    from threestudio_like.loggers.images import opened

    for name, file in files.items():
        if file.exists():
            for logger in loggers:
                if hasattr(logger, "log_image"):
                    logger.log_image(name, [to_bytes(opened(file)).numpy()], step=0)


def show_model(file: Path, loggers: Sequence[Any]) -> None:
    """A mesh, as it is in its file: y up; a texture's colours where the vertices are."""
    if not file.exists() or not loggers:
        return
    from threestudio_like.export.mesh import TO_FILE, read, split
    from threestudio_like.ops.texture import sample

    mesh = read(file)
    vertices, faces, colors = mesh.vertices, mesh.faces, mesh.rgb
    if mesh.texture is not None:
        parts = split(mesh)
        vertices, faces, colors = parts.vertices, parts.faces, sample(mesh.texture, parts.uv)
    if colors is None:
        colors = torch.full_like(vertices, 0.7)
    for logger in loggers:
        logger.log_mesh(
            "model", file, 0, vertices=vertices[:, TO_FILE], faces=faces, colors=colors.clamp(0, 1)
        )


def show_sweep(
    nodes: Mapping[str, Any],
    key: str,
    pictures: Mapping[str, Any],
    tables: Mapping[str, tuple[list[str], list[list[Any]]]],
) -> None:
    """A sweep's summary, or a study's, to loggers in its folder; the key is the nodes' own."""
    loggers = built(nodes, key)
    for logger in loggers:
        for name, (columns, rows) in tables.items():
            if hasattr(logger, "log_table"):
                logger.log_table(name, columns=columns, data=rows)
        for name, picture in pictures.items():
            if hasattr(logger, "log_image"):
                logger.log_image(name, [to_bytes(picture).numpy()], step=0)
        logger.finalize("success")
    close(loggers)
