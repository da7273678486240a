"""`dry=true`: what would run, as a tree, and what it would take; writes nothing that stays.

Everything is built as a run would build it, and a few real steps are timed (probe.py): the only numbers that
are true of this machine and of these settings. Later stages begin from the scene of those few steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from pytorch_lightning import LightningModule, seed_everything
from torch import nn

from threestudio_like.run import finish, scenes, stages
from threestudio_like.run.composition import build
from threestudio_like.run.errors import joined, mistakes
from threestudio_like.run.journal import journal
from threestudio_like.run.plan import planned
from threestudio_like.run.probe import Cost, cost
from threestudio_like.run.signatures import is_part
from threestudio_like.run.stopwatch import resident

WIDTH = 130  # characters of a line; the settings that do not fit are in --cfg job
CELLS = 32  # a side, to see whether a scene has a surface to hand over
DEVICE = ("accelerator", "devices", "strategy", "precision")
INPUTS = ("image", "object", "dataset", "prompt", "init")


class Node(NamedTuple):
    """A line and those below it."""

    text: str
    below: list[Node]


def rehearse(tree: Mapping[str, Any], *, experiment: str, first: Any) -> None:
    """Print it; `first`: the data of the first stage."""
    above = [Node(f"{key}: {tree[key]}", []) for key in INPUTS if tree.get(key)]
    total, scene = 0.0, None
    with TemporaryDirectory() as place, journal(Path(place) / "log.txt", shown=True):
        for name in planned(tree):
            with mistakes(f"stages.{name}"):
                node, spent, scene = stage(tree, name, Path(place) / name, first, scene)
            first, total = None, total + spent.total
            above.append(node)
    above += [Node(label(step, tree[step], None), []) for step in finish.STEPS if tree.get(step)]
    print("\n".join(lines(Node(experiment, above))))
    what = ", ".join(step for step in finish.STEPS if tree.get(step))
    after = f"; {what} come after, and are not timed" if what else ""
    print(f"about {duration(total)} for the stages{after}; {memory()} of memory at most until here")


def stage(tree: Mapping[str, Any], name: str, place: Path, first: Any, scene: Any) -> tuple[Node, Cost, Any]:
    """One stage built, begun and timed: its branch, its cost, and the scene that it leaves."""
    config, key = tree["stages"][name], f"stages.{name}"
    data = stages.prepared(config["data"], f"{key}.data") if first is None else first
    if scene is None:
        stages.warned(data)
    init = stages.beginning(name, tree)
    before = scenes.load(init, "init") if init else scene
    seed_everything(tree["seed"], workers=True, verbose=False)
    system = build(config["system"], f"{key}.system")
    begins = begun(system, before, name, init)
    spent = cost(config["trainer"], f"{key}.trainer", system, data, place)
    below = [
        Node(f"begins from {begins}", []),
        Node(label("system", config["system"], system), list(parts(config["system"], system, ""))),
        Node(label("data", config["data"], None), list(parts(config["data"], None, ""))),
        Node(machine(config["trainer"], system), []),
        Node(
            f"time: {spent.seconds:.3g} s a step ({spent.timed} timed), {spent.drawing:.3g} s a drawing: "
            f"{duration(spent.total)}",
            [],
        ),
    ]
    return Node(f"{name}: {spent.steps} steps", below), spent, getattr(system, "scene", None)


def begun(system: LightningModule, before: Any, name: str, init: Path | None) -> str:
    """Hand the scene over as a run would, and say whose it was."""
    source = "init" if init else f"stages.{name}"
    if before is None or (init is None and not hasattr(system, "begin_from")):
        return "what its parts make"
    with torch.no_grad():
        surface = before.geometry.surface(CELLS) if hasattr(before.geometry, "surface") else None
    if init is None and surface is not None and len(surface.faces) == 0:
        return "what its parts make: the scene before it has no surface after so few steps"
    stages.handed_over(system, before, name, source)
    return str(init) if init else "the stage before"


def parts(tree: Mapping[str, Any], module: nn.Module | None, path: str) -> Iterator[Node]:
    """The parts of a part, however deep in mappings and lists; `module` is what the root was built as."""
    for name, value in tree.items():
        here = joined(path, str(name))
        if is_part(value):
            inner = submodule(module, here)
            yield Node(label(here, value, inner), [*parts(value, inner, "")])
        elif isinstance(value, Mapping):
            yield from parts(value, module, here)
        elif isinstance(value, list):
            yield from parts({str(i): each for i, each in enumerate(value)}, module, here)


def submodule(module: nn.Module | None, path: str) -> nn.Module | None:
    """The module that a part became, where its name says so."""
    try:
        return None if module is None else module.get_submodule(path)
    except AttributeError:
        return None


def label(key: str, part: Mapping[str, Any], module: nn.Module | None) -> str:
    """`geometry: SDF, 12,345 parameters  radius=0.75 width=32`."""
    counts = [] if module is None else [(p.numel(), p.requires_grad) for p in module.parameters()]
    trained, frozen = sum(n for n, moves in counts if moves), sum(n for n, moves in counts if not moves)
    words = f"{trained:,} parameters" * bool(trained) + " and " * bool(trained and frozen)
    words += f"{frozen:,} frozen" * bool(frozen)
    text = f"{key}: {str(part['_target_']).rpartition('.')[2]}{', ' * bool(words)}{words}"
    return "  ".join(filter(None, [text, settings(part)]))


def settings(part: Mapping[str, Any]) -> str:
    """A part's own numbers and words."""
    kept = {name: value for name, value in part.items() if isinstance(value, (bool, int, float, str))}
    return " ".join(f"{name}={value}" for name, value in kept.items() if name[0] != "_" and value != "")


def machine(trainer: Mapping[str, Any], system: LightningModule) -> str:
    """Where it runs."""
    kept = {name: trainer[name] for name in DEVICE if name in trainer}
    return f"device: {system.device}  {settings(kept)}"


def lines(node: Node, first: str = "", rest: str = "") -> Iterator[str]:
    """The tree, drawn."""
    text = first + node.text
    yield text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
    for below in node.below:
        last = below is node.below[-1]
        yield from lines(below, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))


def duration(seconds: float) -> str:
    """`0:42`, `12:05`, `3:20:00`."""
    whole = round(seconds)
    clock = f"{whole // 60 % 60:02d}:{whole % 60:02d}"
    return f"{whole // 3600}:{clock}" if whole >= 3600 else clock.removeprefix("0")


def memory() -> str:
    """The most that this process has held, and the GPU's share of it apart."""
    held = f"{resident() / 1e9:.2f} GB"
    if not torch.cuda.is_available():
        return held
    return f"{held}, and {torch.cuda.max_memory_allocated() / 1e9:.2f} GB on the GPU"
