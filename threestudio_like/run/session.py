"""One run from a composed configuration: a new folder or an old one, its record, its log, its stages."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from threestudio_like.files import write
from threestudio_like.ops.dispatch import table
from threestudio_like.run import jobs, scenes, stages
from threestudio_like.run.composition import build, drift
from threestudio_like.run.errors import UserError
from threestudio_like.run.folder import RunFolder, circumstances, claimed, now, title
from threestudio_like.run.inputs import SOURCES, at
from threestudio_like.run.journal import journal
from threestudio_like.run.plan import planned
from threestudio_like.run.signatures import check

log = logging.getLogger(__name__)
WORK = ("*/checkpoints/*.ckpt", "*/images/*", f"*/{scenes.WEIGHTS}")  # what nobody may delete
HOME = "THREESTUDIO_LIKE_RUN"  # tells the processes that Lightning starts which folder the first one took


def start(tree: Mapping[str, Any], *, resume: str | None, experiment: str, overrides: list[str]) -> None:
    """Go on with `resume`, or begin a new run, for which there is no folder until its input is read."""
    choose_ops(tree)
    first = None if resume else stages.first_input(tree)
    stages.check_parts(tree)
    path = at(resume) if resume else None
    ran = RunFolder(path, writes=first_process()) if path else begin(tree, experiment, overrides)
    jobs.belongs(ran)
    try:
        with journal(ran.path / "log.txt", shown=ran.writes), nullcontext() if resume else fresh(ran):
            if resume and (difference := drift(tree, ran.manifest["overrides"])):
                log.warning("%s", difference)
            execute(tree, ran, first)
    finally:
        ran.close()


def choose_ops(tree: Mapping[str, Any]) -> None:
    """The backends that the run asks for."""
    check(tree.get("ops"), "ops")
    if tree.get("ops"):
        build(tree["ops"], "ops")


def begin(tree: Mapping[str, Any], experiment: str, overrides: list[str]) -> RunFolder:
    """A new folder with its record; the processes of one run share it."""
    if not first_process():
        if HOME not in os.environ:
            raise UserError("start one process; Lightning starts those of the other devices")
        return RunFolder(Path(os.environ[HOME]), writes=False)
    sources = [str(tree[key]) for key in SOURCES if tree.get(key)]
    name = title(name=tree["name"], prompt=tree["prompt"], sources=sources)
    path = claimed(at(tree["outputs"]) / experiment, name)
    os.environ[HOME] = str(path)
    folder = RunFolder(path, writes=True)
    write(path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(dict(tree))))
    plan = planned(tree)
    folder.record(experiment=experiment, overrides=overrides, plan=plan, seed=tree["seed"], started=now())
    return folder


def first_process() -> bool:
    """Whether this is the process that writes; the others compute beside it."""
    return getattr(rank_zero_only, "rank", 0) == 0


def execute(tree: Mapping[str, Any], folder: RunFolder, first: Any) -> None:
    """Everything between the folder and its last file."""
    folder.record(state="running", error="", **circumstances())
    log.info("%s", folder.path)
    chosen = table("cuda" if torch.cuda.is_available() else "cpu")
    log.info("ops: %s", spoken(chosen))
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
