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
from threestudio_like.records import Mesh

CATALOGUE = Path("/usr/share/sweethome3d/furniture")
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
        raise ValueError(f"furniture: no catalogue in {folder}; apt-get install sweethome3d-furniture")
    models = list(furniture.models(folder))
    found = [each for each in models if hyphened(each.name) == hyphened(words)]
    if not found:
        raise ValueError(f"furniture: no {words!r}{nearest(words, {each.name for each in models})}")
    if not 1 <= int(number) <= len(found):
        raise ValueError(f"furniture: there are {len(found)} of {words!r}, counted from 1; got {number}")
    return found[int(number) - 1]


def hyphened(name: str) -> str:
    """Words in small letters, joined by hyphens."""
    return re.sub(r"[\W_]+", "-", name.lower()).strip("-")


def nearest(word: str, choices: set[str] | dict) -> str:
    """`; did you mean …?`, or the choices where they are few."""
    near = get_close_matches(word, map(str, choices), n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; choose one of {', '.join(sorted(choices))}" if len(choices) <= 12 else ""
