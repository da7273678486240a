"""One run from a composed configuration: a new folder or an old one, its record, its log, its stages."""

from __future__ import annotations

import logging
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from omegaconf import OmegaConf

from threestudio_like.files import write, writing
from threestudio_like.ops.dispatch import table
from threestudio_like.run import again, jobs, processes, scenes, stages
from threestudio_like.run.composition import build, drift
from threestudio_like.run.dry import rehearse
from threestudio_like.run.errors import UserError
from threestudio_like.run.folder import CHANGES, RunFolder, changes, circumstances, claimed, now, title
from threestudio_like.run.inputs import AUTO, SOURCES, at
from threestudio_like.run.journal import journal
from threestudio_like.run.plan import planned
from threestudio_like.run.signatures import check

log = logging.getLogger(__name__)
WORK = ("*/checkpoints/*.ckpt", "*/images/*", f"*/{scenes.WEIGHTS}")  # what nobody may delete


def start(
    tree: Mapping[str, Any], *, resume: str | None, experiment: str, overrides: list[str], dry: bool
) -> None:
    """Go on with `resume`, or begin a new run, for which there is no folder until its input is read."""
    path = again.chosen(resume, tree, experiment)
    if path and resume == AUTO and again.finished(path):
        print(f"{path}: finished before, skipped", flush=True)
        if processes.first():
            jobs.adopt(path)
        return
    choose_ops(tree)
    first = None if path else stages.first_input(tree)
    stages.check_parts(tree)
    stages.check_weights(tree)
    if dry:
        rehearse(tree, experiment=experiment, first=first)
        return
    ran = RunFolder(path, writes=processes.first()) if path else begin(tree, experiment, overrides)
    jobs.belongs(ran)
    try:
        with journal(ran.path / "log.txt", shown=ran.writes), nullcontext() if path else fresh(ran):
            if path and (difference := drift(tree, ran.manifest["overrides"])):
                log.warning("%s", difference)
            execute(tree, ran, first)
    except KeyboardInterrupt:
        if ran.writes:
            print(f"stopped; to go on: python launch.py resume={shlex.quote(str(ran.path))}", flush=True)
        raise
    finally:
        ran.close()


def choose_ops(tree: Mapping[str, Any]) -> None:
    """The backends that the run asks for."""
    check(tree.get("ops"), "ops")
    if tree.get("ops"):
        build(tree["ops"], "ops")


def begin(tree: Mapping[str, Any], experiment: str, overrides: list[str]) -> RunFolder:
    """A new folder with its record; the processes of one run share it."""
    if not processes.first():
        job = None if processes.started_by_others() else jobs.here()
        path = processes.told() if job is None else jobs.awaited(*job)
        if path is None:
            raise UserError("start one process, or all of them by torchrun or srun: nobody told the folder")
        return RunFolder(path, writes=False)
    sources = [str(tree[key]) for key in SOURCES if tree.get(key)]
    name = title(name=tree["name"], prompt=tree["prompt"], sources=sources)
    path = claimed(at(tree["outputs"]) / experiment, name)
    folder = RunFolder(path, writes=True)
    write(path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(dict(tree))))
    plan = planned(tree)
    folder.record(experiment=experiment, overrides=overrides, plan=plan, seed=tree["seed"], started=now())
    processes.tell(path)
    return folder


def execute(tree: Mapping[str, Any], folder: RunFolder, first: Any) -> None:
    """Everything between the folder and its last file."""
    words = {"tags": list(map(str, tree.get("tags", []))), "note": tree.get("note", "")}
    folder.record(state="running", error="", **words, **circumstances())
    if folder.writes and (difference := changes()):
        write(folder.path / CHANGES, difference)
    log.info("%s", folder.path)
    chosen = table("cuda" if torch.cuda.is_available() else "cpu")
    log.info("ops: %s", spoken(chosen))
    with writing(folder.path):  # libraries write there too: TensorBoard, the exporters
        stages.run(tree, folder, first)
    log.info("%s", folder.path)


def spoken(chosen: Mapping[str, str]) -> str:
    """Which backend does which ops; one that does all of them is named alone."""
    backends = {name: [op for op in chosen if chosen[op] == name] for name in sorted(set(chosen.values()))}
    if len(backends) == 1:
        return next(iter(backends))
    return ", ".join(f"{' '.join(ops)} by {name}" for name, ops in backends.items())


@contextmanager
def fresh(folder: RunFolder) -> Iterator[None]:
    """A user's mistake before there is anything to look at leaves no folder behind."""
    try:
        yield
    except UserError:
        if folder.writes and not any(file for work in WORK for file in folder.path.glob(work)):
            shutil.rmtree(folder.path)
        raise
