"""Edits of procedural shapes, whose parts are known by name: the cone on top, the nose, the body itself.

Left and right are the shape's own; its nose points to the front.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from threestudio_like.data import shapes
from threestudio_like.data.draw import Light
from threestudio_like.data.edits import COMMON, Change, Kind, Look, Thing
from threestudio_like.data.shapes import BODIES, COLORS, DISTANCES, PLACES, Part, Shape, article

GROWTH = {"bigger": 1.6, "smaller": 0.6}


def thing(shape: Shape, light: Light) -> Thing:
    """A shape, to be edited."""
    look = Look(shape.caption, shapes.mesh(shape), light)
    return Thing(shape.caption, "whole thing", look, shape)


def described(parts: list[Part]) -> str:
    """The caption of a body, the parts around it, and a nose."""
    body, *others, nose = parts
    words = f"{article(hue(body))} {body.kind} with"
    words += ",".join(f" {article(hue(p))} {p.kind} {place(p)}" for p in others)
    return words + f"{' and' if others else ''} {article(hue(nose))} nose"


def hue(part: Part) -> str:
    """The nearest word for its colour."""
    away = {name: float((part.rgb - torch.tensor(rgb)).norm()) for name, rgb in COLORS.items()}
    return min(away, key=away.__getitem__)


def place(part: Part) -> str:
    """Where it is put on the body."""
    toward = {name: float(part.frame[2] @ torch.tensor(direction)) for name, direction in PLACES.items()}
    return max(toward, key=toward.__getitem__)


def on(part: Part, body: Part) -> Part:
    """The part put on the body, wherever it was before."""
    here = shapes.placed(part, body._replace(center=torch.zeros(3)))
    return here._replace(center=here.center + body.center)


def called(rng: np.random.Generator, parts: list[Part], which: int) -> str:
    """What to call one of the parts: shortly, where that is clear."""
    if which == len(parts) - 1:
        return "the nose"
    part, names = parts[which], ["the body"] if which == 0 else []
    if [other.kind for other in parts[:-1]].count(part.kind) == 1:
        names.append(f"the {part.kind}")
    if [hue(other) for other in parts].count(hue(part)) == 1:
        names.append(f"the {hue(part)} {part.kind}")
    if which > 0:
        names.append(f"the {part.kind} {place(part)}")
    return str(rng.choice(names))


def shown(before: Look, parts: list[Part]) -> Look:
    """Other parts in the same light."""
    return before._replace(caption=described(parts), mesh=shapes.mesh(Shape("", tuple(parts))))


def parts_of(thing: Thing) -> list[Part]:
    """Body, others, nose."""
    assert thing.shape is not None, "only a shape's parts are known"
    return list(thing.shape.parts)


def replaced(parts: list[Part], which: int, new: Part) -> list[Part]:
    """With another part in one's place; if that is the body, the others are put on the new one."""
    if which == 0:
        return [new, *(on(part, new) for part in parts[1:])]
    return [*parts[:which], on(new, parts[0]), *parts[which + 1 :]]


def paint(rng: np.random.Generator, thing: Thing) -> tuple[Look, list[Change]]:
    """One part in another hue."""
    parts = parts_of(thing)
    which = int(rng.integers(len(parts)))
    the, old = called(rng, parts, which), parts[which]

    def painted(rgb: tuple[float, float, float]) -> Look:
        new = old._replace(rgb=torch.tensor(rgb))
        return shown(thing.before, [*parts[:which], new, *parts[which + 1 :]])

    others = {name: rgb for name, rgb in COLORS.items() if name != hue(old)}
    return thing.before, [
        Change({"the": the, "hue": name}, partial(painted, rgb)) for name, rgb in others.items()
    ]


def resize(rng: np.random.Generator, thing: Thing) -> tuple[Look, list[Change]]:
    """One part, not the body, larger or smaller."""
    parts = parts_of(thing)
    which = int(rng.integers(1, len(parts)))
    the, old = called(rng, parts, which), parts[which]

    def resized(factor: float) -> Look:
        return shown(thing.before, replaced(parts, which, old._replace(size=old.size * factor)))

    return thing.before, [
        Change({"the": the, "more": more}, partial(resized, factor)) for more, factor in GROWTH.items()
    ]


def replace(rng: np.random.Generator, thing: Thing) -> tuple[Look, list[Change]]:
    """A primitive of another kind in the place of one, in its hue; the nose stays what it is."""
    parts = parts_of(thing)
    which = int(rng.integers(len(parts) - 1))
    the, old = called(rng, parts, which), parts[which]

    def swapped(kind: str) -> Look:
        new = shapes.primitive(kind, "red", proportions(old), old.frame)._replace(rgb=old.rgb)
        return shown(thing.before, replaced(parts, which, new._replace(center=old.center)))

    kinds = [kind for kind in (DISTANCES if which else BODIES) if kind != old.kind]
    return thing.before, [Change({"the": the, "a": article(kind)}, partial(swapped, kind)) for kind in kinds]


def proportions(part: Part) -> np.ndarray:
    """About how far it reaches along its axes: what a primitive is made by."""
    reach: Float[Tensor, " 3"] = shapes.reach(part)
    return reach.numpy()


def add(rng: np.random.Generator, thing: Thing) -> tuple[Look, list[Change]]:
    """One more part where there is none yet."""
    parts = parts_of(thing)
    free = sorted(set(PLACES) - {place(part) for part in parts[1:-1]})
    where, kind = str(rng.choice(free)), str(rng.choice(list(DISTANCES)))
    scale = rng.uniform(0.25, 0.5, 3) * float(shapes.reach(parts[0]).max())

    def added(name: str) -> Look:
        new = on(shapes.primitive(kind, name, scale, shapes.towards(PLACES[where])), parts[0])
        return shown(thing.before, [*parts[:-1], new, parts[-1]])

    return thing.before, [
        Change({"a": f"{article(name)} {kind}", "place": where}, partial(added, name)) for name in COLORS
    ]


def remove(rng: np.random.Generator, thing: Thing) -> tuple[Look, list[Change]]:
    """One of the parts around the body, neither that nor the nose; each of them could be meant."""
    parts = parts_of(thing)

    def without(which: int) -> Look:
        return shown(thing.before, [*parts[:which], *parts[which + 1 :]])

    return thing.before, [
        Change({"the": called(rng, parts, which)}, partial(without, which))
        for which in range(1, len(parts) - 1)
    ]


SHAPE_KINDS: dict[str, Kind] = {
    **COMMON,
    "part": paint,
    "resize": resize,
    "replace": replace,
    "add": add,
    "remove": remove,
}
