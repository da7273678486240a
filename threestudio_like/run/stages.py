"""The ordered plan of stages: each is built and fitted, and leaves a scene from which the next begins."""

from __future__ import annotations

import gc
import inspect
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer, seed_everything

from threestudio_like.files import write
from threestudio_like.ranges import Count, Whole
from threestudio_like.run import (
    checkpoints,
    dashboards,
    finish,
    processes,
    pruning,
    reuse,
    scenes,
    seen,
    watch,
)
from threestudio_like.run.composition import build
from threestudio_like.run.errors import UserError, joined, mistakes
from threestudio_like.run.folder import RunFolder, failing
from threestudio_like.run.guard import Guard
from threestudio_like.run.inputs import SOURCES
from threestudio_like.run.plan import planned
from threestudio_like.run.signatures import check, check_type, is_part, located

log = logging.getLogger(__name__)
KINDS = {"system": LightningModule, "data": LightningDataModule}  # what each part of a stage must be
LIMITS = {"max_steps": Count, "accumulate_grad_batches": Count, "log_every_n_steps": Whole}  # of a trainer
ALONE = ("accelerator", "devices", "num_nodes", "strategy")  # what the stages of one run must share


def check_parts(config: Mapping[str, Any]) -> None:
    """Every part against its constructor; what follows the stages is built, to find bad values first."""
    for name, stage in config["stages"].items():
        key = f"stages.{name}.trainer"
        check_trainer(placed(stage["trainer"], Path(), key), key)
        for part, kind in KINDS.items():
            check(stage[part], f"stages.{name}.{part}")
            check_type(stage[part], kind, f"stages.{name}.{part}")
    for name in (*finish.STEPS, "viewer"):
        if config.get(name) and not is_part(config[name]):
            raise UserError(f"{name}: expected a part, or null, got {config[name]!r}")
        check(config.get(name), name)
        if config.get(name):
            after = getattr(build(config[name], name), "after", None)
            if after is not None and not config.get(after):
                raise UserError(f"{name}: needs the {after}, which is left out; leave out both: ~{name}")
    check_devices({name: config["stages"][name]["trainer"] for name in planned(config)})


def check_weights(config: Mapping[str, Any]) -> None:
    """That the published weights of every stage to run are on this machine, and what reads words for them:
    hours may pass until the last.
    """
    for name in planned(config):
        stage = {kind: config["stages"][name][kind] for kind in KINDS}
        for key, part in parts(stage, f"stages.{name}"):
            found = located(part["_target_"], key)
            find = getattr(found, "published", None)
            if find is None:
                continue
            try:
                path = find(part["weights"])
                if path is not None and hasattr(found, "readers"):
                    from threestudio_like.priors.published import reader  # diffusers, which others need not

                    reader(path, part["text"], found.readers)
            except ValueError as error:
                raise UserError(f"{key}.{error}") from error


def parts(tree: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every part in a tree, with its full key."""
    if is_part(tree):
        yield key, tree
    for name, value in tree.items() if isinstance(tree, Mapping) else ():
        yield from parts(value, joined(key, str(name)))


def first_input(config: Mapping[str, Any]) -> Any:
    """The data of the first stage: reading it needs little, checking and building systems much."""
    name = planned(config)[0]
    key = f"stages.{name}.data"
    check(config["stages"][name]["data"], key)
    return prepared(config["stages"][name]["data"], key)


def prepared(node: Mapping[str, Any], key: str) -> Any:
    """A stage's data, with its picture read: a bad one is known before anything heavy begins."""
    data = build(node, key)
    if hasattr(data, "prepare"):
        with mistakes(key, own=tuple(f"{source}: " for source in SOURCES)):
            data.prepare()
    return data


def check_trainer(trainer: Mapping[str, Any], key: str) -> None:
    """Callbacks and loggers are mappings in YAML, so that each can be named, and lists in Lightning."""
    several = ("callbacks", "logger")
    located(trainer["_target_"], key)
    check_type({"_target_": trainer["_target_"]}, Trainer, key)
    check({name: value for name, value in trainer.items() if name not in several}, key)
    for name, limit in LIMITS.items():
        if name in trainer:
            check_type(trainer[name], limit, joined(key, name))
    for name in several:
        check(parts_of(trainer, name, key), joined(key, name))


def parts_of(trainer: Mapping[str, Any], name: str, key: str) -> Mapping[str, Any]:
    """The named callbacks or loggers of a trainer's node, each a part."""
    found = trainer.get(name) or {}
    if not isinstance(found, Mapping):
        raise UserError(f"{joined(key, name)}: expected names and their parts, got {found!r}")
    for each, part in found.items():
        if not is_part(part):
            raise UserError(f"{joined(key, name, each)}: expected a part, got {part!r}")
    return found


def check_devices(trainers: Mapping[str, Mapping[str, Any]]) -> None:
    """A stage on one device after one on several would run once in each of their processes."""
    layouts = {name: [trainer.get(key) for key in ALONE] for name, trainer in trainers.items()}
    first = next(iter(layouts), "")
    for name, layout in layouts.items():
        for key, value, other in zip(ALONE, layout, layouts[first], strict=True):
            if value != other:
                text = f"stages of one run share their devices; got {value!r}, stages.{first} has {other!r}"
                raise UserError(f"stages.{name}.trainer.{key}: {text}")


def placed(trainer: Mapping[str, Any], folder: Path, key: str = "trainer") -> dict[str, Any]:
    """A trainer's node with the stage's folder filled in: its own, and its loggers'."""
    loggers = {name: dict(node) for name, node in parts_of(trainer, "logger", key).items()}
    for name, node in loggers.items():
        parameters = inspect.signature(located(node.get("_target_"), f"{key}.logger.{name}")).parameters
        if "save_dir" in parameters:
            node["save_dir"] = str(folder)
    return {**trainer, "default_root_dir": str(folder), "logger": loggers}


def run(config: Mapping[str, Any], folder: RunFolder, first: Any) -> None:
    """Every stage of the plan that is not finished, then what follows; `first`: `first_input`, if made."""
    plan = planned(config)
    with watch.watching(config, folder) as callbacks:
        changed = run_stages(config, plan, folder, first, callbacks)
    if folder.writes:
        before, last = folder.manifest.get("after"), config["stages"][plan[-1]]["trainer"]
        finish.run(config, folder, plan, again=changed)
        if changed or folder.manifest.get("after") != before:
            dashboards.finished(config, folder.path, placed(last, folder.path)["logger"])


def run_stages(
    config: Mapping[str, Any], plan: list[str], folder: RunFolder, first: Any, callbacks: list[Callback]
) -> bool:
    """Those that are not finished; whether there were any."""
    stages, changed = config["stages"], False
    for name in plan:
        if folder.part("stages", name).get("state") == "finished":
            log.info("%s: finished before, skipped", name)
            continue
        changed = True
        if twin := reuse.found(name, config, folder):
            if first is not None:
                look(first, folder)
            first = None
            folder.record_part("stages", name, **reuse.take(twin, folder))
            log.info("%s: taken from %s", name, twin)
            continue
        before = predecessor(name, plan, folder) or beginning(name, config)
        folder.record_part("stages", name, state="running")
        with failing(folder, "stages", name), mistakes(f"stages.{name}"):
            data = prepared(stages[name]["data"], f"stages.{name}.data") if first is None else first
            first = None
            look(data, folder)
            begin = {"data": data, "before": before, "seed": config["seed"]}
            metrics = run_stage(stages[name], name, folder, **begin, callbacks=callbacks)
        same = reuse.key(name, config, folder)
        folder.record_part("stages", name, state="finished", **metrics, key=same)
        log.info("%s: finished in %.0f s", name, metrics["seconds"])
        gc.collect()
    return changed


def look(data: Any, folder: RunFolder) -> None:
    """Keep what the system sees; what may be wrong with it is said once, and stays in the record."""
    if not folder.writes:
        return
    if "remarks" not in folder.manifest:
        folder.record(remarks=warned(data))
    seen.keep(data, folder.path)


def warned(data: Any) -> list[str]:
    """What may be wrong with the picture, and has been said."""
    found = seen.remarks(data)
    for remark in found:
        log.warning("the picture: %s", remark)
    return found


def predecessor(name: str, plan: list[str], folder: RunFolder) -> Path | None:
    """The folder of the stage whose scene this one begins from: the nearest before it that left one."""
    whole = folder.manifest["plan"]
    order = plan if plan.index(name) or name not in whole else whole
    earlier = [folder.path / other for other in order[: order.index(name)]]
    return next((path for path in reversed(earlier) if scenes.saved(path)), None)


def beginning(name: str, config: Mapping[str, Any]) -> Path | None:
    """The scene of another run that the plan's first stage begins from, if `init` names one."""
    init = config.get("init")
    return Path(init) if init is not None and name == planned(config)[0] else None


def handed_over(system: LightningModule, scene: Any, name: str, source: str) -> None:
    """The system begins from a scene; `source` is the key that a mistake is reported with."""
    if hasattr(system, "begin_from"):
        with mistakes(source):
            system.begin_from(scene)  # type: ignore[operator]
    elif source == "init":
        raise UserError(f"init: stages.{name}.system begins from no scene; leave init out")


def run_stage(
    stage: Mapping[str, Any],
    name: str,
    folder: RunFolder,
    *,
    data: Any,
    before: Path | None,
    seed: int,
    callbacks: list[Callback],
) -> dict[str, float]:
    """Build, begin from the scene before, fit (from the last checkpoint if there is one), leave the scene."""
    key, path = f"stages.{name}", folder.path / name
    source = key if before is None or before.parent == folder.path else "init"
    previous = scenes.load(before, "resume" if source == key else source) if before else None
    trainer = trainer_of(stage["trainer"], f"{key}.trainer", path)
    trainer.callbacks += callbacks  # type: ignore[attr-defined]
    pruning.watch(trainer, name, folder.manifest["plan"])
    seed_everything(seed, workers=True, verbose=False)
    system = build(stage["system"], f"{key}.system")
    if previous is not None:
        handed_over(system, previous, name, source)
    del previous
    dashboards.begin(trainer, stage, key)
    try:
        fit(trainer, system, data, path)
    finally:
        dashboards.close(trainer.loggers)
    if folder.writes and hasattr(system, "scene"):
        scenes.save(system.scene, stage["system"]["scene"], path)
    together()
    scores = system.measure(data) if hasattr(system, "measure") else {}
    return measured(trainer, path, scores, writes=folder.writes)


def trainer_of(node: Mapping[str, Any], key: str, path: Path) -> Trainer:
    """Lightning's Trainer, its callbacks and loggers as the lists it takes."""
    tree = placed(node, path, key)
    several = {name: list((tree.pop(name, None) or {}).values()) for name in ("callbacks", "logger")}
    return build({**tree, **several}, key)


def keeper(trainer: Trainer) -> checkpoints.Checkpoints:
    """The trainer's own checkpoints; without them a run could not go on."""
    found = [c for c in getattr(trainer, "callbacks", []) if isinstance(c, checkpoints.Checkpoints)]
    if not found:
        raise UserError("trainer.callbacks: a run needs a threestudio_like.run.checkpoints.Checkpoints")
    return found[0]


def fit(trainer: Trainer, system: LightningModule, data: Any, path: Path) -> None:
    """To the last step, or to the first Ctrl-C."""
    kept = keeper(trainer)
    try:
        with kept.listening(), checkpoints.loading(checkpoints.path(path)):
            begin = checkpoints.to_go_on_from(path)
            trainer.fit(system, datamodule=data, ckpt_path=begin, weights_only=True)
    except RuntimeError as error:
        if not processes.deserted(error):
            raise
        line = f"another process of this run has ended; to go on: resume={path.parent}"
        raise UserError(f"stages.{path.name}: {line}") from error
    if kept.interrupted:
        raise KeyboardInterrupt


def measured(trainer: Trainer, path: Path, scores: Mapping[str, float], *, writes: bool) -> dict[str, float]:
    """The last metrics of a stage, in <stage>/metrics.json; returns its scores, its time and its steps."""
    summary = {**scores, "seconds": round(keeper(trainer).seconds, 1), "steps": trainer.global_step}
    guards = [each for each in getattr(trainer, "callbacks", []) if isinstance(each, Guard)]
    skipped = sum(guard.skipped for guard in guards)
    if skipped:
        summary["skipped"] = skipped
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    if writes:
        write(path / "metrics.json", json.dumps({**metrics, **summary}, indent=2) + "\n")
    return summary


def together() -> None:
    """Wait until the first process has written what all of them will read."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
