"""An object by what the user calls it: a mesh file, `furniture/<name>` or `shapes/<number or kind>`.

`furniture/cup-cake` is a model of the household catalogue (of several, `furniture/chair/2` is the second);
`shapes/7` is a procedural shape of several parts, by its index; `shapes/torus` is a single primitive.
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from threestudio_like.data import furniture, objects, shapes
from threestudio_like.data.furniture import CATALOGUE, GET
from threestudio_like.records import Mesh

FEW = 12  # choices that are all named
SEED = 0  # of the numbered shapes


def is_name(text: str) -> bool:
    """Whether it is meant as a name rather than as a file."""
    return text.startswith(("furniture/", "shapes/")) and not os.path.exists(text)


def read(text: str) -> Mesh:
    """The mesh; ValueError says in one line what is wrong with the name or the file."""
    try:
        return called(text) if is_name(text) else objects.read(text)
    except ValueError as error:
        raise ValueError(f"object: {error}") from error


def called(name: str) -> Mesh:
    """The mesh of a name."""
    kind, _, rest = name.partition("/")
    if kind == "shapes":
        return shapes.mesh(shape(rest))
    found = model(rest, CATALOGUE)
    try:
        return objects.to_mesh(partial(furniture.load, found), found.rotation)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def check(text: str) -> None:
    """A name that nothing has is a ValueError with the nearest one; nothing is read."""
    kind, _, name = text.partition("/")
    if kind == "shapes":
        shape(name)
    else:
        model(name, CATALOGUE)


def shape(name: str) -> shapes.Shape:
    """By number or by kind."""
    if name.isdecimal():
        return shapes.shape(SEED, int(name))
    if name not in shapes.DISTANCES:
        raise ValueError(f"shapes: no {name!r}{nearest(name, shapes.DISTANCES)}, or give a number")
    return shapes.single(name)


def model(name: str, folder: Path) -> furniture.Model:
    """The catalogue's model of this name; spaces and hyphens are alike, and so are letters of either case."""
    words, _, number = name.rpartition("/") if re.search(r"/\d+$", name) else (name, "", "1")
    if not any(folder.glob("*.sh3f")):
        raise ValueError(f"furniture: no catalogue in {folder}; {GET}")
    models = list(furniture.models(folder))
    found = [each for each in models if hyphened(each.name) == hyphened(words)]
    if not found:
        names = {hyphened(each.name) for each in models}
        raise ValueError(f"furniture: no {words!r}{nearest(hyphened(words), names, 'furniture/')}")
    if not 1 <= int(number) <= len(found):
        raise ValueError(f"furniture: there are {len(found)} of {words!r}, counted from 1; got {number}")
    return found[int(number) - 1]


def hyphened(name: str) -> str:
    """Words in small letters, joined by hyphens."""
    return re.sub(r"[\W_]+", "-", name.lower()).strip("-")


def nearest(word: str, choices: set[str] | dict, kind: str = "") -> str:
    """`; did you mean …?`, or the choices where they are few, or those of many that are least unlike it.

    Each is written with its `kind` before it.
    """
    near = get_close_matches(word, map(str, choices), n=1)
    if near:
        return f"; did you mean {kind + near[0]!r}?"
    few = len(choices) <= FEW
    shown = sorted(choices) if few else get_close_matches(word, map(str, choices), n=5, cutoff=0.0)
    return f"; choose one of {'' if few else f'{len(choices)}, such as '}{', '.join(kind + s for s in shown)}"
