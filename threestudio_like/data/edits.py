"""Edits of things, with the words that ask for them: pairs (before, after) are drawn from these.

A kind of edit changes one attribute (a hue, a size, a lamp); each value of it is a change, so an answer can
be judged by which of the values it looks most like. Both sides of a pair are moved and scaled alike until the
box around both is centred and its longest side is 1. These exact pairs stand for the generated ones of
InstructPix2Pix (Brooks et al. 2023, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from threestudio_like.data import shapes
from threestudio_like.data.draw import Light, draw
from threestudio_like.data.phrases import said
from threestudio_like.data.shapes import COLORS, PLACES, Shape, article
from threestudio_like.records import Camera, Mesh, View

SHADING = 0.3  # of a repainted surface's lightness is what it was before
BRIGHTEST = 1.4  # times the new colour
MATERIALS = {  # light is diffuse, so a material is what colour it has
    "gold": (0.83, 0.67, 0.2),
    "copper": (0.72, 0.42, 0.28),
    "wood": (0.6, 0.4, 0.22),
    "marble": (0.88, 0.86, 0.82),
    "jade": (0.35, 0.65, 0.48),
    "coal": (0.14, 0.14, 0.15),
}
SIZES = {  # factors along x, y, z
    "bigger": (1.4, 1.4, 1.4),
    "smaller": (0.7, 0.7, 0.7),
    "taller": (1.0, 1.0, 1.5),
    "flatter": (1.0, 1.0, 0.6),
}
LAMPS = {  # directions to the lamp in the camera's axes: x right, y up, z back to the camera
    "from the left": (-1.0, 0.2, 0.3),
    "from the right": (1.0, 0.2, 0.3),
    "from above": (0.0, 1.0, 0.2),
    "from below": (0.0, -1.0, 0.2),
    "from behind": (0.0, 0.3, -1.0),
}
LAMP = (0.15, 0.85)  # ambient and diffuse of these lamps
LEVELS = {"brighter": 1.4, "darker": 0.45}
SHARE = (0.12, 0.85)  # of the surface: what counts as a part by its hue
BIT = (0.12, 0.2)  # sizes of primitives that are put on things


class Look(NamedTuple):
    """What there is to draw; `follows`: the light's direction is in the camera's axes, not the world's."""

    caption: str
    mesh: Mesh
    light: Light
    follows: bool = False


class Change(NamedTuple):
    """One value of an attribute: words for the phrases, and how the thing then looks."""

    words: dict[str, str]
    look: Callable[[], Look]


class Thing(NamedTuple):
    """What can be edited. name: what the split goes by; noun: what instructions call it."""

    name: str
    noun: str
    before: Look
    shape: Shape | None  # its parts, where they are known


class Edit(NamedTuple):
    """before, an instruction, after; `rivals`: the attribute's other values, where they were asked for."""

    kind: str
    name: str
    instruction: str
    before: Look
    after: Look
    rivals: list[Look]


# (rng, thing) -> the thing as it is at first and what may become of it: nothing where the kind does not apply
Kind = Callable[[np.random.Generator, Thing], tuple[Look, list[Change]]]


def edit(
    rng: np.random.Generator,
    thing: Thing,
    kinds: Mapping[str, Kind],
    weights: Mapping[str, float | int],
    *,
    rivals: bool,
) -> Edit:
    """A random edit of a thing, of the kinds that apply to it, as often as their weights say."""
    names = [name for name in kinds if weights.get(name, 0) > 0]
    shares = np.array([weights[name] for name in names], dtype=float)
    for name in rng.choice(names, size=len(names), replace=False, p=shares / shares.sum()):
        before, changes = kinds[name](rng, thing)
        if changes:
            which = int(rng.integers(len(changes)))
            change = changes.pop(which)
            found = [before, change.look(), *(other.look() for other in changes if rivals)]
            before, after, *others = framed(found)
            return Edit(str(name), thing.name, said(rng, phrases(name), change.words), before, after, others)
    raise ValueError(f"kinds: none of {', '.join(names)} can be done to {thing.name!r}")


def phrases(kind: str) -> str:
    """Which phrases a kind is asked for with."""
    return {"resize": "size"}.get(kind, kind)


def framed(looks: list[Look]) -> list[Look]:
    """All moved and scaled alike: the box around the first two is centred, its longest side 1."""
    corners = torch.cat([torch.stack(look.mesh.vertices.aminmax(dim=0)) for look in looks[:2]])
    low, high = corners.amin(0), corners.amax(0)
    middle, side = (low + high) / 2, (high - low).max()
    return [
        look._replace(mesh=look.mesh._replace(vertices=(look.mesh.vertices - middle) / side))
        for look in looks
    ]


def seen(look: Look, camera: Camera) -> View:
    """The look's pictures."""
    if not look.follows:
        return draw(look.mesh, camera, look.light)
    views = []
    for c2w, fov_y in zip(camera.c2w, camera.fov_y, strict=True):
        place = camera._replace(c2w=c2w[None], fov_y=fov_y[None])
        direction = (c2w[:3, :3] @ torch.tensor(list(look.light.direction))).tolist()
        views.append(draw(look.mesh, place, look.light._replace(direction=direction)))
    return View(camera, torch.cat([v.rgb for v in views]), torch.cat([v.alpha for v in views]))


def colour(rng: np.random.Generator, thing: Thing) -> tuple[Look, list[Change]]:
    """The whole in one hue."""
    the, before = called(rng, thing), thing.before

    def painted(hue: str) -> Look:
        mesh = repainted(before.mesh, COLORS[hue], everywhere(before.mesh))
        return before._replace(caption=f"{thing.noun}, {hue}", mesh=mesh)

    return before, [Change({"the": the, "hue": hue}, partial(painted, hue)) for hue in COLORS]


def material(rng: np.random.Generator, thing: Thing) -> tuple[Look, list[Change]]:
    """The whole of one stuff."""
    the, before = called(rng, thing), thing.before

    def made(stuff: str) -> Look:
        mesh = repainted(before.mesh, MATERIALS[stuff], everywhere(before.mesh))
        return before._replace(caption=f"{thing.noun} made of {stuff}", mesh=mesh)

    return before, [Change({"the": the, "stuff": stuff}, partial(made, stuff)) for stuff in MATERIALS]


def size(rng: np.random.Generator, thing: Thing) -> tuple[Look, list[Change]]:
    """The whole larger or smaller, or along its height only."""
    the, before = called(rng, thing), thing.before

    def scaled(more: str) -> Look:
        mesh = before.mesh._replace(vertices=before.mesh.vertices * torch.tensor(SIZES[more]))
        return before._replace(caption=f"{thing.noun}, {more}", mesh=mesh)

    return before, [Change({"the": the, "more": more}, partial(scaled, more)) for more in SIZES]


def light(rng: np.random.Generator, thing: Thing) -> tuple[Look, list[Change]]:
    """One lamp, somewhere as the camera sees it."""
    before = thing.before

    def lit(lamp: str) -> Look:
        return before._replace(
            caption=f"{before.caption}, lit {lamp}", light=Light(LAMPS[lamp], *LAMP), follows=True
        )

    return before, [Change({"lamp": lamp}, partial(lit, lamp)) for lamp in LAMPS]


def dim(rng: np.random.Generator, thing: Thing) -> tuple[Look, list[Change]]:
    """More light, or less."""
    before = thing.before

    def lit(level: str) -> Look:
        _, ambient, diffuse = before.light
        scaled = before.light._replace(ambient=ambient * LEVELS[level], diffuse=diffuse * LEVELS[level])
        return before._replace(caption=f"{before.caption}, {level}", light=scaled)

    return before, [Change({"level": level}, partial(lit, level)) for level in LEVELS]


def tint(rng: np.random.Generator, thing: Thing) -> tuple[Look, list[Change]]:
    """What is of one hue in another; a thing that is all of one hue has no such part."""
    before = thing.before
    hues, area = nearest_hues(before.mesh), areas(before.mesh)
    shares = torch.bincount(hues[before.mesh.faces[:, 0]], area, minlength=len(COLORS)) / area.sum()
    found = [hue for hue, share in zip(COLORS, shares.tolist(), strict=True) if SHARE[0] < share < SHARE[1]]
    if not found:
        return before, []
    old = str(rng.choice(found))
    where = hues == list(COLORS).index(old)
    the = str(rng.choice([f"the {old} part", f"the {old} parts", f"what is {old}"]))

    def painted(hue: str) -> Look:
        mesh = repainted(before.mesh, COLORS[hue], where)
        return before._replace(caption=f"{before.caption}, {hue} where it was {old}", mesh=mesh)

    others = [hue for hue in COLORS if hue != old]
    return before, [Change({"the": the, "hue": hue}, partial(painted, hue)) for hue in others]


def add(rng: np.random.Generator, thing: Thing) -> tuple[Look, list[Change]]:
    """A primitive on top of it or underneath."""
    bit = drawn_bit(rng)

    def grown(hue: str) -> Look:
        return with_bit(thing.before, bit, hue)

    changes = [
        Change({"a": f"{article(hue)} {bit.kind}", "place": bit.place}, partial(grown, hue)) for hue in COLORS
    ]
    return thing.before, changes


def remove(rng: np.random.Generator, thing: Thing) -> tuple[Look, list[Change]]:
    """A primitive that is on top of it or underneath at first."""
    bit, hue = drawn_bit(rng), str(rng.choice(list(COLORS)))
    the = str(rng.choice([f"the {bit.kind}", f"the {hue} {bit.kind}", f"the {bit.kind} {bit.place}"]))
    return with_bit(thing.before, bit, hue), [Change({"the": the}, lambda: thing.before)]


def replace(rng: np.random.Generator, thing: Thing) -> tuple[Look, list[Change]]:
    """A primitive that fills its box, in its mean colour, in its place."""
    the, before = called(rng, thing), thing.before
    low, high = before.mesh.vertices.aminmax(dim=0)
    assert before.mesh.rgb is not None
    rgb, half, middle = before.mesh.rgb.mean(0), (high - low).numpy() / 2, (low + high) / 2

    def swapped(kind: str) -> Look:
        part = shapes.primitive(kind, "red", half, torch.eye(3))._replace(rgb=rgb, center=middle)
        return before._replace(caption=article(kind), mesh=shapes.mesh(Shape("", (part,))))

    return before, [
        Change({"the": the, "a": article(kind)}, partial(swapped, kind)) for kind in shapes.BODIES
    ]


COMMON: dict[str, Kind] = {"colour": colour, "material": material, "size": size, "light": light, "dim": dim}
OBJECT_KINDS: dict[str, Kind] = {**COMMON, "part": tint, "replace": replace, "add": add, "remove": remove}


def called(rng: np.random.Generator, thing: Thing) -> str:
    """`it`, or what it is."""
    return str(rng.choice(["it", f"the {thing.noun}"]))


class Bit(NamedTuple):
    """A primitive to be put on a thing."""

    kind: str
    place: str
    scale: np.ndarray


def drawn_bit(rng: np.random.Generator) -> Bit:
    """A random one."""
    place = str(rng.choice(["on top", "underneath"]))
    return Bit(str(rng.choice(list(shapes.DISTANCES))), place, rng.uniform(*BIT, 3))


def with_bit(look: Look, bit: Bit, hue: str) -> Look:
    """The look with a primitive that touches the furthest vertex on its side."""
    direction = torch.tensor(PLACES[bit.place])
    part = shapes.primitive(bit.kind, hue, bit.scale, shapes.towards(PLACES[bit.place]))
    vertices = look.mesh.vertices
    furthest = vertices[(vertices @ direction).argmax()]
    center = furthest + (1 - shapes.SUNK) * shapes.reach(part)[2] * direction
    added = shapes.mesh(Shape("", (part._replace(center=center),)))
    caption = f"{look.caption} with {article(hue)} {bit.kind} {bit.place}"
    return look._replace(caption=caption, mesh=together(look.mesh, added))


def together(one: Mesh, other: Mesh) -> Mesh:
    """Both, in one mesh with colours at its vertices."""
    assert one.rgb is not None and other.rgb is not None
    faces = torch.cat([one.faces, other.faces + len(one.vertices)])
    return Mesh(torch.cat([one.vertices, other.vertices]), faces, torch.cat([one.rgb, other.rgb]))


def repainted(mesh: Mesh, rgb: tuple[float, float, float], where: Bool[Tensor, " V"]) -> Mesh:
    """In a new colour where asked; something of the old light and dark stays."""
    assert mesh.rgb is not None
    grey = mesh.rgb.mean(-1, keepdim=True)
    lightness = (1 - SHADING) + SHADING * grey / grey[where].mean().clamp(min=1e-3)
    new = (torch.tensor(rgb) * lightness.clamp(max=BRIGHTEST)).clamp(max=1)
    return mesh._replace(rgb=torch.where(where[:, None], new, mesh.rgb))


def everywhere(mesh: Mesh) -> Bool[Tensor, " V"]:
    """All vertices."""
    return torch.ones(len(mesh.vertices), dtype=torch.bool)


def nearest_hues(mesh: Mesh) -> Int[Tensor, " V"]:
    """Which of COLORS each vertex is nearest to."""
    assert mesh.rgb is not None
    return torch.cdist(mesh.rgb, torch.tensor(list(COLORS.values()))).argmin(-1)


def areas(mesh: Mesh) -> Float[Tensor, " F"]:
    """Of the triangles."""
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    return 0.5 * torch.linalg.vector_norm(torch.linalg.cross(b - a, c - a), dim=-1)
