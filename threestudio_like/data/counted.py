"""How many triangles a mesh file says it has, read from its first bytes where its format tells.

A file of too many is refused before it is read: reading takes many times its size.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

HEAD = 1 << 16  # bytes that a header may take
BLOCK = 1 << 22  # bytes of a text that are searched at once
LINE = 8  # bytes of the shortest face of an OBJ file, `f 1 2 3`


def triangles(path: Path, limit: int) -> int:
    """As the file says; 0 where only reading it could tell, or where it is damaged.

    Polygons count once. A text without a header is counted only if it is long enough to have `limit` faces.
    """
    try:
        return COUNTS[path.suffix.lower()](path, limit)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError, struct.error):
        return 0  # its reader will say what is wrong with it


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _ply(path: Path, limit: int) -> int:
    found = re.search(rb"^element face (\d+)\s*$", _head(path).partition(b"end_header")[0], re.MULTILINE)
    return int(found[1]) if found else 0


def _off(path: Path, limit: int) -> int:
    text = re.sub(rb"#[^\n]*", b"", _head(path)).split()
    return int(text[2]) if text[0].endswith(b"OFF") else int(text[1])


def _stl(path: Path, limit: int) -> int:
    head, size = _head(path), path.stat().st_size
    (said,) = struct.unpack("<I", head[80:84])
    if 84 + 50 * said <= size:
        return said
    return _words(path, b"endfacet", 80 * limit) if head.lstrip().startswith(b"solid") else 0


def _obj(path: Path, limit: int) -> int:
    return _words(path, b"\nf ", LINE * limit)


def _words(path: Path, word: bytes, size: int) -> int:
    """How often a word comes up in a file of more than `size` bytes."""
    if path.stat().st_size <= size:
        return 0
    count, rest = 0, b""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            text = rest + block
            count += text.count(word)
            rest = text[-len(word) + 1 :]  # too short to hold the word: nothing counts twice
    return count


def _glb(path: Path, limit: int) -> int:
    with path.open("rb") as file:
        _, _, _, length, _ = struct.unpack("<IIIII", file.read(20))
        return _scene(json.loads(file.read(min(length, path.stat().st_size))))


def _gltf(path: Path, limit: int) -> int:
    return _scene(json.loads(path.read_bytes()))


def _scene(tree: Mapping[str, Any]) -> int:
    """Of all nodes of the scene: a mesh that is placed twice counts twice."""
    accessors, nodes = tree["accessors"], tree["nodes"]
    meshes = [sum(_primitive(each, accessors) for each in mesh["primitives"]) for mesh in tree["meshes"]]

    @cache
    def below(index: int) -> int:
        node = nodes[index]
        own = meshes[node["mesh"]] if "mesh" in node else 0
        return own + sum(below(child) for child in node.get("children", ()))

    scenes = tree.get("scenes") or [{"nodes": range(len(nodes))}]
    return sum(below(index) for index in scenes[tree.get("scene", 0)].get("nodes", ()))


def _primitive(primitive: Mapping[str, Any], accessors: list[Mapping[str, Any]]) -> int:
    index = primitive.get("indices", primitive["attributes"]["POSITION"])
    return int(accessors[index]["count"]) // 3


COUNTS = {".ply": _ply, ".off": _off, ".stl": _stl, ".obj": _obj, ".glb": _glb, ".gltf": _gltf}
