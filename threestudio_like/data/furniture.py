"""The household catalogue of Sweet Home 3D: zip archives of OBJ models with English names and their creators.

Debian's package sweethome3d-furniture puts them under /usr/share/sweethome3d/furniture.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import trimesh
from trimesh.resolvers import ZipResolver

PROPERTIES = "PluginFurnitureCatalog.properties"


class Model(NamedTuple):
    """One entry of a catalogue."""

    archive: Path
    member: str  # the OBJ file inside the archive
    name: str
    creator: str
    rotation: np.ndarray  # 3 3, to be applied in the file's axes


def _properties(text: str) -> dict[str, str]:
    lines = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in lines}


def models(folder: Path) -> Iterator[Model]:
    """Every model of every .sh3f archive in `folder`, in a fixed order."""
    for archive in sorted(folder.glob("*.sh3f")):
        with zipfile.ZipFile(archive) as opened:
            entries = _properties(opened.read(PROPERTIES).decode("latin-1"))
        numbers = sorted(int(key.removeprefix("model#")) for key in entries if key.startswith("model#"))
        for n in numbers:
            rotation = np.array(entries.get(f"modelRotation#{n}", "1 0 0 0 1 0 0 0 1").split(), dtype=float)
            member = entries[f"model#{n}"].removeprefix("/")
            name, creator = entries[f"name#{n}"].lower(), entries.get(f"creator#{n}", "")
            yield Model(archive, member, name, creator, rotation.reshape(3, 3))


def load(model: Model) -> Any:
    """What trimesh reads: a scene of one geometry for each material."""
    with zipfile.ZipFile(model.archive) as opened:
        folder = model.member.rpartition("/")[0]
        files = {
            name: trimesh.util.wrap_as_stream(opened.read(name))
            for name in opened.namelist()
            if name.startswith(folder + "/") and not name.endswith("/")
        }
    resolver = ZipResolver(files, namespace=folder)
    return trimesh.load_scene(files[model.member], file_type="obj", resolver=resolver, process=False)
