"""Named objects with colour at their vertices, from mesh files or the household catalogue.

Files are y-up with the front on +z; the house's (x, y, z) is the file's (z, x, y). Objects are centred by
their bounding box and their longest side is 1. An object is held out by its name, so that two models of one
name never fall on both sides of the split.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from torch import Tensor

from threestudio_like import cache
from threestudio_like.data import counted, furniture, materials
from threestudio_like.data.colors import painted_triangles
from threestudio_like.files import replacing
from threestudio_like.records import Mesh

log = logging.getLogger(__name__)
SUFFIXES = (".obj", ".glb", ".gltf", ".ply", ".stl", ".off")
FORMAT = 1  # of the cached meshes; a change of reading or colouring must count it up
MAX_FACES = 10_000_000  # of a file, copies of one part in a scene counted each
MIN_SILHOUETTE = 0.01  # of a unit square: below it a picture of 64 pixels shows next to nothing


class Object(NamedTuple):
    """A mesh and the words for it."""

    name: str
    mesh: Mesh


def held_out(name: str) -> bool:
    """Whether objects of this name are kept from training: one name in ten, by hash."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10 == 0


def caption(stem: str) -> str:
    """A file's stem in words: `OfficeChair_02` is "office chair"."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem)
    words = re.sub(r"[\W_]+", " ", words)
    return re.sub(r"(\s*\d+)+$", "", words).strip().lower() or stem.lower()


def normalized(vertices: Float[Tensor, "V 3"]) -> Float[Tensor, "V 3"]:
    """Centred by the bounding box, longest side 1."""
    low, high = vertices.amin(0), vertices.amax(0)
    return (vertices - (low + high) / 2) / (high - low).max()


class Unusable(ValueError):
    """A mesh that could be read but is of no use, and why, in words for the user."""


def check_count(total: int) -> None:
    """Not more triangles than can be handled."""
    if total > MAX_FACES:
        raise Unusable(f"it has {total:,} triangles; expected at most {MAX_FACES:,}")


def check(scene: Any) -> None:
    """What trimesh takes from a file without looking: no faces, too many, or faces of no vertices."""
    nodes = [scene.geometry[scene.graph[node][1]] for node in scene.graph.nodes_geometry]
    parts = [part for part in nodes if len(getattr(part, "faces", ()))]
    if not parts:
        raise Unusable("it has no triangles")
    check_count(sum(len(part.faces) for part in parts))
    for part in parts:
        low, high, count = part.faces.min(), part.faces.max(), len(part.vertices)
        if low < 0 or high >= count:
            raise Unusable(f"a triangle has vertex {low if low < 0 else high}, but they are 0 to {count - 1}")


def to_mesh(load: Callable[[], Any], rotation: np.ndarray) -> Mesh:
    """What `load` has trimesh read, turned by `rotation` (file axes), in the house's axes and size.

    ValueError says what is wrong with it.
    """
    try:
        with np.errstate(all="ignore"):  # what is not finite is looked for below
            scene = load()
            check(scene)
            corners, rgb = painted_triangles(scene)
    except Unusable:
        raise
    except MemoryError as error:
        raise Unusable("reading it takes more memory than there is") from error
    except Exception as error:  # every reader behind trimesh ends on damaged bytes in errors of its own kind
        text = "not a whole mesh of the format that its name says: damaged, or it lacks files or vertices"
        raise Unusable(text) from error
    return placed(corners, rgb, rotation)


def placed(corners: np.ndarray, rgb: np.ndarray, rotation: np.ndarray) -> Mesh:
    """Coloured triangles (corners F 3 3) in the house's axes, centred, longest side 1."""
    if not len(corners):
        raise Unusable("all of it is transparent")
    if not np.isfinite(corners).all():
        raise Unusable("a vertex is not finite")
    corners = (corners @ rotation.T)[..., [2, 0, 1]]
    low, high = corners.min((0, 1)), corners.max((0, 1))
    corners = (corners - (low + high) / 2) / max((high - low).max(), 1e-30)
    areas = 0.5 * np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    if 0.5 * np.abs(areas).sum(0).mean() < MIN_SILHOUETTE:
        raise Unusable("next to nothing to see in it: too thin, or of no size")
    return indexed(corners.astype(np.float32), rgb)


def indexed(corners: np.ndarray, rgb: np.ndarray) -> Mesh:
    """F 3 3 corners and their uint8 colours as a mesh: corners of one place and colour are one vertex."""
    rows = np.empty(corners.shape[0] * 3, dtype=[("place", np.float32, 3), ("rgb", np.uint8, 3)])
    rows["place"], rows["rgb"] = corners.reshape(-1, 3) + 0.0, rgb.reshape(-1, 3)  # + 0.0: -0.0 is 0.0
    unique, inverse = np.unique(rows.view("V15"), return_inverse=True)
    unique = unique.view(rows.dtype)
    faces = torch.from_numpy(inverse.reshape(-1, 3).astype(np.int64))
    degenerate = (faces == faces.roll(1, dims=1)).any(1)
    colors = torch.from_numpy(unique["rgb"].astype(np.float32) / 255)
    return Mesh(torch.from_numpy(unique["place"].copy()), faces[~degenerate], colors)


def read(path: str | Path) -> Mesh:
    """One mesh file; ValueError names the file and what is wrong with it."""
    path = Path(path)
    kinds = ", ".join(SUFFIXES)
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "a device" if path.exists() else ""
        raise ValueError(f"{path}: {kind}; expected a mesh file" if kind else f"{path}: no such file")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: not a mesh that is read here; expected one of {kinds}")
    if not path.stat().st_size:
        raise ValueError(f"{path}: an empty file; expected a mesh ({kinds})")
    try:
        check_count(counted.triangles(path, MAX_FACES))
        mesh = to_mesh(lambda: trimesh.load_scene(path, process=False), np.eye(3))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except Unusable as error:
        raise ValueError(f"{path}: {error}") from error
    for remark in materials.remarks(path):
        log.warning("%s", remark)
    return mesh


def _files(path: Path) -> Iterator[Object]:
    for file in sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES):
        try:
            yield Object(caption(file.stem), read(file))
        except ValueError as error:
            log.warning("skipped %s", error)


def _catalogue(path: Path) -> Iterator[Object]:
    for model in furniture.models(path):
        try:
            yield Object(model.name, to_mesh(partial(furniture.load, model), model.rotation))
        except Unusable as error:
            log.warning("skipped %s:%s: %s", model.archive, model.member, error)


class Objects:
    """All objects under `path`: a mesh file, a folder of them (recursive), or a folder of .sh3f catalogues.

    What is read is kept in the folder `cache` (null: the user's cache folder); edited files are read again.
    """

    def __init__(self, *, path: str, cache: str | None) -> None:
        self.path = Path(os.path.expanduser(path))
        if not self.path.exists():
            get = f"; {furniture.GET}, or give a folder of meshes, or take another source, such as shapes"
            catalogue = self.path == furniture.CATALOGUE
            raise ValueError(f"path: no such file or folder {path!r}{get if catalogue else ''}")
        self.cache = cache

    def load(self) -> list[Object]:
        """Every usable object; ValueError if there is none."""
        if self.path.is_file():
            return [Object(caption(self.path.stem), read(self.path))]
        file = cache.folder(self.cache) / f"objects-{self.fingerprint()}.npz"
        if not file.exists():
            log.info("reading the objects under %s (once; kept in %s)", self.path, file)
            catalogue = any(self.path.glob("*.sh3f"))
            found = list(_catalogue(self.path) if catalogue else _files(self.path))
            if not found:
                raise ValueError(f"{self.path}: no usable mesh in it ({', '.join(SUFFIXES)} or .sh3f)")
            store(file, found)
        return restore(file)

    def fingerprint(self) -> str:
        """Changes when any file under `path` does."""
        files = [file for file in sorted(self.path.rglob("*")) if file.is_file()]
        stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files or [self.path]]
        return cache.digest(FORMAT, str(self.path.resolve()), stats)


def store(file: Path, objects: list[Object]) -> None:
    """All meshes in one file: arrays end to end, and where each begins."""
    arrays = {
        "names": np.array([o.name for o in objects]),
        "num_vertices": np.array([len(o.mesh.vertices) for o in objects]),
        "num_faces": np.array([len(o.mesh.faces) for o in objects]),
        "vertices": np.concatenate([o.mesh.vertices.numpy() for o in objects]),
        "faces": np.concatenate([o.mesh.faces.numpy().astype(np.int32) for o in objects]),
        "rgb": np.concatenate(
            [(o.mesh.rgb * 255).round().byte().numpy() for o in objects if o.mesh.rgb is not None]
        ),
    }
    with replacing(file) as partial:
        np.savez(partial, **arrays)  # type: ignore[arg-type]


def restore(file: Path) -> list[Object]:
    """What `store` wrote."""
    with np.load(file) as data:
        names = [str(name) for name in data["names"]]
        ends = [np.cumsum(data[key])[:-1] for key in ("num_vertices", "num_faces")]
        vertices, rgb = (np.split(data[key], ends[0]) for key in ("vertices", "rgb"))
        faces = np.split(data["faces"], ends[1])
    return [
        Object(name, Mesh(torch.from_numpy(v), torch.from_numpy(f).long(), torch.from_numpy(c).float() / 255))
        for name, v, f, c in zip(names, vertices, faces, rgb, strict=True)
    ]
