"""The colours of what trimesh read, brought to the triangles' corners.

A texture is finer than the corners of big triangles, so textured triangles are cut until their edges are
short, and the texture is averaged down to that length.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

MAX_EDGE = 0.03  # of the object's longest side, for textured triangles
MAX_ROUNDS = 7  # of cutting: an edge of the longest possible triangle is below MAX_EDGE after 6
SEAM = 1e-3  # of a triangle, how far inside its corners the texture is looked up
GREY = np.array([180, 180, 180, 255], dtype=np.uint8)


def painted_triangles(scene: Any) -> tuple[np.ndarray, np.ndarray]:
    """All triangles of a trimesh scene in its world: corners F 3 3, and their colours F 3 3 (uint8)."""
    parts = [p for p in scene.dump() if hasattr(p, "faces") and len(p.faces)]
    if not parts:
        return np.zeros((0, 3, 3)), np.zeros((0, 3, 3), dtype=np.uint8)
    points = np.concatenate([p.vertices for p in parts])
    side = np.ptp(points, axis=0).max()
    pairs = [_painted(p, MAX_EDGE * side) for p in parts]
    return np.concatenate([c for c, _ in pairs]), np.concatenate([rgb for _, rgb in pairs])


def _painted(part: Any, max_edge: float) -> tuple[np.ndarray, np.ndarray]:
    corners = np.asarray(part.vertices, dtype=np.float64)[part.faces]
    visual = part.visual
    if visual.kind == "texture":
        image, factor = _material(visual.material)
        if image is None or visual.uv is None:
            return corners, np.broadcast_to(factor[:3], corners.shape)
        uv = np.asarray(visual.uv, dtype=np.float64)[part.faces]
        corners, uv = cut(corners, np.nan_to_num(uv), max_edge)
        rgba = sampled(image, uv)
        kept = rgba[..., 3].mean(1) >= 128  # leaves and fringes are cut out of their cards by alpha
        tinted = rgba[kept][..., :3].astype(np.float64) * factor[:3] / 255
        return corners[kept], tinted.round().astype(np.uint8)
    if visual.kind == "face":
        return corners, np.repeat(visual.face_colors[:, None, :3], 3, axis=1)
    if visual.kind == "vertex":
        return corners, visual.vertex_colors[part.faces][..., :3]
    return corners, np.broadcast_to(GREY[:3], corners.shape)


def _material(material: Any) -> tuple[Image.Image | None, np.ndarray]:
    """(texture, colour) of a simple or a physically based material; an OBJ's texture replaces its colour."""
    if hasattr(material, "baseColorTexture"):
        factor = material.baseColorFactor
        return material.baseColorTexture, np.array([255] * 4 if factor is None else factor)
    image = getattr(material, "image", None)
    return image, np.array([255] * 4) if image is not None else np.asarray(material.main_color)


def cut(corners: np.ndarray, uv: np.ndarray, max_edge: float) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (corners F 3 3, uv F 3 2) with every edge longer than `max_edge` halved, until none is.

    An edge is cut or not by its length alone, so both triangles that share it agree and no crack opens.
    """
    done, todo = [], np.concatenate([corners, uv], axis=-1)
    for _ in range(MAX_ROUNDS):
        long = np.linalg.norm(todo[:, [1, 2, 0], :3] - todo[..., :3], axis=-1) > max_edge
        done.append(todo[~long.any(1)])
        todo = np.concatenate([_split(todo[long.sum(1) == n], long[long.sum(1) == n], n) for n in (1, 2, 3)])
    whole = np.concatenate([*done, todo])
    return whole[..., :3], whole[..., 3:]


def _split(triangles: np.ndarray, long: np.ndarray, count: int) -> np.ndarray:
    """Triangles of which `count` edges are long, turned so that the long ones come first (0-1, then 1-2)."""
    first = long.argmax(1) if count == 1 else (np.argmin(long, 1) + 1) % 3
    turned = triangles[np.arange(len(triangles))[:, None], (first[:, None] + np.arange(3)) % 3]
    a, b, c = turned[:, 0], turned[:, 1], turned[:, 2]
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    pieces = {
        1: [(a, ab, c), (ab, b, c)],
        2: [(ab, b, bc), (a, ab, bc), (a, bc, c)],
        3: [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)],
    }
    return np.concatenate([np.stack(piece, axis=1) for piece in pieces[count]])


def sampled(image: Image.Image, uv: np.ndarray) -> np.ndarray:
    """RGBA (uint8) of a repeating texture at the corners F 3 2, averaged over about one edge's length."""
    # a little inwards: where the texture ends or repeats, a corner has the colour of its own triangle's side
    uv = uv + SEAM * (uv.mean(axis=1, keepdims=True) - uv)
    size = np.array(image.size)
    step = np.median(np.linalg.norm((uv[:, [1, 2, 0]] - uv) * size, axis=-1)) if len(uv) else 1.0
    small = np.maximum(np.round(size / max(step, 1.0)), 1).astype(int)
    pixels = np.asarray(image.convert("RGBA").resize(tuple(small), Image.Resampling.BOX))
    column = np.floor(uv[..., 0] * small[0]).astype(int) % small[0]
    row = np.floor((1 - uv[..., 1]) * small[1]).astype(int) % small[1]
    return pixels[row, column]
