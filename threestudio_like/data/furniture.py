"""The household catalogue of Sweet Home 3D: zip archives of OBJ models with English names and their creators.

Debian's package sweethome3d-furniture puts them under /usr/share/sweethome3d/furniture.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import trimesh
from trimesh.resolvers import ZipResolver

CATALOGUE = Path("/usr/share/sweethome3d/furniture")
GET = "apt-get install sweethome3d-furniture"
PROPERTIES = "PluginFurnitureCatalog.properties"
LARGEST = 1 << 29  # bytes that one model, or the list of them, may unpack to


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
        try:
            yield from _listed(archive)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError) as error:
            raise ValueError(f"{archive}: not a catalogue of furniture ({error})") from error


def _listed(archive: Path) -> list[Model]:
    with zipfile.ZipFile(archive) as opened:
        entries = _properties(unpacked(opened, [PROPERTIES])[PROPERTIES].decode("latin-1"))
    found = []
    for n in sorted(int(key.removeprefix("model#")) for key in entries if key.startswith("model#")):
        rotation = np.array(entries.get(f"modelRotation#{n}", "1 0 0 0 1 0 0 0 1").split(), dtype=float)
        member = entries[f"model#{n}"].removeprefix("/")
        name, creator = entries[f"name#{n}"].lower(), entries.get(f"creator#{n}", "")
        found.append(Model(archive, member, name, creator, rotation.reshape(3, 3)))
    return found


def unpacked(archive: zipfile.ZipFile, names: list[str]) -> dict[str, bytes]:
    """Files of an archive; ValueError, before any is unpacked, if they are together more than LARGEST."""
    size = sum(archive.getinfo(name).file_size for name in names)
    if size > LARGEST:
        raise ValueError(f"it unpacks to {size:,} bytes; expected at most {LARGEST:,}")
    return {name: archive.read(name) for name in names}


def load(model: Model) -> Any:
    """What trimesh reads: a scene of one geometry for each material."""
    with zipfile.ZipFile(model.archive) as opened:
        folder = model.member.rpartition("/")[0]
        names = [n for n in opened.namelist() if n.startswith(folder + "/") and not n.endswith("/")]
        contents = unpacked(opened, names)
        files = {name: trimesh.util.wrap_as_stream(content) for name, content in contents.items()}
    resolver = ZipResolver(files, namespace=folder)
    return trimesh.load_scene(files[model.member], file_type="obj", resolver=resolver, process=False)
