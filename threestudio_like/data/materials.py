"""What an OBJ file asks for and does not get: its materials and their textures.

Without them it is drawn in plain grey, which is no mistake but should be known.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from PIL import Image

from threestudio_like.data.picture import FORMATS

HEAD = 1 << 16  # bytes in which a file names its materials


def remarks(path: Path) -> list[str]:
    """One line for each file of materials, and for each texture, that cannot be used."""
    if path.suffix.lower() != ".obj":
        return []
    with path.open("rb") as file:
        text = file.read(HEAD).decode(errors="replace")
    found = []
    for name in re.findall(r"^\s*mtllib\s+(.+?)\s*$", text, re.MULTILINE):
        problem = _problem(path.parent, name)
        found += [f"materials {name!r} {problem}"] if problem else _textures(path.parent, name)
    return [f"{path}: its {each}; those parts are plain" for each in found]


def _textures(folder: Path, name: str) -> list[str]:
    text = _place(folder, name).read_text(errors="replace")
    textures = re.findall(r"^\s*map_Kd\s+(?:-\S+\s+\S+\s+)*(.+?)\s*$", text, re.MULTILINE)
    problems = {each: _problem(folder, each) or _unreadable(_place(folder, each)) for each in textures}
    return [f"texture {each!r} {problem}" for each, problem in problems.items() if problem]


def _problem(folder: Path, name: str) -> str:
    """What keeps a file from being used; nothing outside the mesh's own folder is looked at."""
    path = _place(folder, name).resolve()
    if not path.is_relative_to(folder.resolve()):
        return "lies outside its folder"
    return "" if path.is_file() else "is not there"


def _place(folder: Path, name: str) -> Path:
    return folder / name.replace("\\", "/")


def _unreadable(path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow's remark on a size that would fill the memory
        try:
            with Image.open(path, formats=FORMATS) as picture:
                picture.load()
        except Exception as error:  # damaged bytes end Pillow in errors of many kinds
            return f"cannot be read ({error or type(error).__name__})"
    return ""
