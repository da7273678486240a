"""Procedural objects that need no download: a body, parts around it, and a nose that marks the front (+x).

Each has a caption, a colour for each part, its exact signed distance (the least of the parts') and a mesh.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like import cache
from threestudio_like.data.objects import Object
from threestudio_like.ops import isosurface
from threestudio_like.ranges import Count, Seed
from threestudio_like.records import Mesh

FORMAT = 1  # of what an index means
SEGMENTS = 48  # around an axis; divisible by 4, so that the extremes along the axes are vertices
COLORS = {
    "red": (0.85, 0.12, 0.1),
    "orange": (0.95, 0.5, 0.08),
    "yellow": (0.95, 0.85, 0.15),
    "green": (0.15, 0.6, 0.2),
    "cyan": (0.2, 0.75, 0.8),
    "blue": (0.12, 0.25, 0.8),
    "purple": (0.5, 0.2, 0.65),
    "pink": (0.95, 0.55, 0.7),
    "brown": (0.45, 0.28, 0.14),
    "black": (0.1, 0.1, 0.1),
    "white": (0.93, 0.93, 0.93),
    "grey": (0.5, 0.5, 0.5),
}
BODIES = ("box", "sphere", "cylinder", "capsule")
PLACES = {
    "on top": (0.0, 0.0, 1.0),
    "underneath": (0.0, 0.0, -1.0),
    "on the left": (0.0, 1.0, 0.0),
    "on the right": (0.0, -1.0, 0.0),
    "at the back": (-1.0, 0.0, 0.0),
}
FRONT = (1.0, 0.0, 0.0)
SUNK = 0.3  # of a part's depth that is inside what it is put on


class Part(NamedTuple):
    """A primitive around its own z axis.

    size: box: half the sides; sphere: radius; cylinder, cone (apex up): radius, half the height;
    capsule: radius, half the distance of the centres; torus: radius of the ring, of the tube.
    """

    kind: str
    size: Float[Tensor, " K"]
    center: Float[Tensor, " 3"]
    frame: Float[Tensor, "3 3"]  # rows: the part's axes in the world
    rgb: Float[Tensor, " 3"]


class Shape(NamedTuple):
    """Parts and the words for them."""

    caption: str
    parts: tuple[Part, ...]


def _profile(points: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """(distance from the z axis, z)."""
    return torch.linalg.vector_norm(points[:, :2], dim=-1), points[:, 2]


def _box(q: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
    """Signed distance to a box from q = |point| - half the sides, in any dimension."""
    return torch.linalg.vector_norm(q.clamp(min=0), dim=-1) + q.amax(-1).clamp(max=0)


def _cone(points: Float[Tensor, "N 3"], radius: Tensor, half: Tensor) -> Float[Tensor, " N"]:
    rho, z = _profile(points)
    slope = torch.stack([radius, -2 * half])  # apex to rim, in (rho, z)
    below = torch.stack([rho, z - half], dim=-1)  # from the apex
    along = ((below @ slope) / (slope @ slope)).clamp(0, 1)
    side = torch.linalg.vector_norm(below - along[:, None] * slope, dim=-1)
    base = torch.hypot((rho - radius).clamp(min=0), z + half)
    inside = (z > -half) & (below[:, 0] * 2 * half + below[:, 1] * radius < 0)
    return torch.minimum(side, base) * torch.where(inside, -1.0, 1.0)


def _capsule(points: Float[Tensor, "N 3"], radius: Tensor, half: Tensor) -> Float[Tensor, " N"]:
    rho, z = _profile(points)
    return torch.hypot(rho, (z.abs() - half).clamp(min=0)) - radius


def _torus(points: Float[Tensor, "N 3"], ring: Tensor, tube: Tensor) -> Float[Tensor, " N"]:
    rho, z = _profile(points)
    return torch.hypot(rho - ring, z) - tube


def _cylinder(points: Float[Tensor, "N 3"], radius: Tensor, half: Tensor) -> Float[Tensor, " N"]:
    rho, z = _profile(points)
    return _box(torch.stack([rho - radius, z.abs() - half], dim=-1))


DISTANCES: dict[str, Callable[..., Tensor]] = {
    "box": lambda points, x, y, z: _box(points.abs() - torch.stack([x, y, z])),
    "sphere": lambda points, radius: torch.linalg.vector_norm(points, dim=-1) - radius,
    "cylinder": _cylinder,
    "cone": _cone,
    "capsule": _capsule,
    "torus": _torus,
}


def _distance(part: Part, points: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
    return DISTANCES[part.kind]((points - part.center) @ part.frame.T, *part.size.unbind())


def distances(shape: Shape, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N P"]:
    """Signed distance to each part."""
    return torch.stack([_distance(part, points) for part in shape.parts], dim=-1)


def sdf(shape: Shape, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 1"]:
    """Of the union, negative inside; exact outside, a bound inside where parts overlap."""
    return distances(shape, points).amin(-1, keepdim=True)


def colors(shape: Shape, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    """Of the nearest part."""
    nearest = distances(shape, points).argmin(-1)
    return torch.stack([part.rgb for part in shape.parts])[nearest]


def surface(shape: Shape, resolution: int) -> Mesh:
    """The union as one closed mesh, by marching tetrahedra."""
    lattice = isosurface.lattice(resolution)
    places = lattice.vertices * 0.55
    vertices, faces = isosurface.marching_tets(places, sdf(shape, places)[:, 0], lattice)
    return Mesh(vertices, faces, colors(shape, vertices))


def mesh(shape: Shape) -> Mesh:
    """The parts' own meshes together: sharp and quick to draw, but they go through each other."""
    vertices, faces, rgb, first = [], [], [], 0
    for part in shape.parts:
        local, triangles = _part_mesh(part)
        vertices.append(local @ part.frame + part.center)
        faces.append(triangles + first)
        rgb.append(part.rgb.expand(len(local), 3))
        first += len(local)
    return Mesh(torch.cat(vertices), torch.cat(faces), torch.cat(rgb))


def _part_mesh(part: Part) -> tuple[Float[Tensor, "V 3"], Int[Tensor, "F 3"]]:
    if part.kind == "box":
        sides = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
        quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        return sides * part.size, torch.tensor([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    return revolved(_outline(part.kind, *part.size.tolist()))


def _outline(kind: str, size: float, other: float = 0.0) -> Float[Tensor, "K 2"]:
    """(rho, z) along the profile, counter-clockwise: outwards along the bottom, up, inwards along the top."""
    if kind == "cylinder":
        return torch.tensor([(0.0, -other), (size, -other), (size, other), (0.0, other)])
    if kind == "cone":
        return torch.tensor([(0.0, -other), (size, -other), (0.0, other)])
    if kind == "torus":
        turn = torch.linspace(-math.pi, math.pi, SEGMENTS // 2 + 1)
        return torch.stack([size + other * torch.cos(turn), other * torch.sin(turn)], dim=-1)
    turn = torch.linspace(-math.pi / 2, math.pi / 2, SEGMENTS // 2 + 2)  # an even number: none at z = 0
    lift = torch.where(turn < 0, -other, other)
    arc = torch.stack([size * torch.cos(turn), size * torch.sin(turn) + lift], dim=-1)
    return torch.where(torch.tensor([True, False]) & (arc.abs() < 1e-7), 0.0, arc)


def revolved(outline: Float[Tensor, "K 2"]) -> tuple[Float[Tensor, "V 3"], Int[Tensor, "F 3"]]:
    """The outline turned around the z axis, wound outward."""
    turn = torch.arange(SEGMENTS) * (2 * math.pi / SEGMENTS)
    rho, z = outline[:, None].unbind(-1)
    vertices = torch.stack([rho * torch.cos(turn), rho * torch.sin(turn), z.expand(-1, SEGMENTS)], dim=-1)
    rows, columns = torch.meshgrid(torch.arange(len(outline) - 1), torch.arange(SEGMENTS), indexing="ij")
    a, b = rows * SEGMENTS + columns, rows * SEGMENTS + (columns + 1) % SEGMENTS
    c, d = b + SEGMENTS, a + SEGMENTS
    faces = torch.stack([torch.stack([a, b, c], dim=-1), torch.stack([a, c, d], dim=-1)]).reshape(-1, 3)
    corners = vertices.reshape(-1, 3)[faces]
    flat = torch.linalg.vector_norm(
        torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), dim=-1
    )
    return vertices.reshape(-1, 3), faces[flat > 1e-12]


def shape(seed: int, index: int) -> Shape:
    """The shape of this index: the same for the same seed, whatever else is made."""
    rng = np.random.default_rng([seed, index])
    hues = list(rng.permutation(list(COLORS)))
    body = _part(rng, str(rng.choice(BODIES)), hues[0], rng.uniform(0.5, 1.0, 3), torch.eye(3))
    parts, words = [body], f"{article(hues[0])} {body.kind} with"
    places = rng.permutation(list(PLACES))[: rng.integers(0, 4)]
    for place, hue in zip(places, hues[2:], strict=False):
        kind = str(rng.choice(list(DISTANCES)))
        part = placed(_part(rng, kind, hue, rng.uniform(0.2, 0.5, 3), towards(PLACES[place])), body)
        parts.append(part)
        words += f" {article(hue)} {kind} {place},"
    nose = _part(rng, str(rng.choice(["sphere", "cone", "box"])), hues[1], np.full(3, 0.16), towards(FRONT))
    joint = " and" if len(parts) > 1 else ""
    return normalized(
        Shape(words.rstrip(",") + f"{joint} {article(hues[1])} nose", (*parts, placed(nose, body)))
    )


SINGLE = {
    "box": (0.8, 1.0, 0.6),
    "sphere": (1.0,),
    "cylinder": (0.6, 1.0),
    "cone": (0.7, 1.0),
    "capsule": (0.5, 0.5),
    "torus": (0.7, 0.3),
}


def single(kind: str) -> Shape:
    """One primitive, upright and orange."""
    size, rgb = torch.tensor(SINGLE[kind]), torch.tensor(COLORS["orange"])
    return normalized(Shape(f"an orange {kind}", (Part(kind, size, torch.zeros(3), torch.eye(3), rgb),)))


def article(word: str) -> str:
    """The word with its article."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _part(rng: np.random.Generator, kind: str, hue: str, scale: np.ndarray, frame: Tensor) -> Part:
    """A primitive of nearly that hue."""
    made = primitive(kind, hue, scale, frame)
    return made._replace(rgb=made.rgb + torch.from_numpy(rng.uniform(-0.05, 0.05, 3).astype(np.float32)))


def primitive(kind: str, hue: str, scale: np.ndarray, frame: Float[Tensor, "3 3"]) -> Part:
    """One at the origin that reaches about `scale` along its axes."""
    a, b, c = (float(s) for s in scale)
    size = {"box": (a, b, c), "sphere": (a,), "torus": (a, 0.4 * min(a, b))}.get(kind, (a, b))
    return Part(kind, torch.tensor(size), torch.zeros(3), frame, torch.tensor(COLORS[str(hue)]))


def reach(part: Part) -> Float[Tensor, " 3"]:
    """Half the extent along the part's own axes."""
    a, *others = part.size.tolist()
    if part.kind == "box":
        return part.size
    up = {"sphere": a, "capsule": a + sum(others), "torus": sum(others)}.get(part.kind, sum(others))
    across = a + sum(others) if part.kind == "torus" else a
    return torch.tensor([across, across, up])


def towards(direction: tuple[float, float, float]) -> Float[Tensor, "3 3"]:
    """A right-handed frame whose z axis is `direction`, one of the world's axes either way."""
    z = torch.tensor(direction)
    x = z.abs().roll(1)
    return torch.stack([x, torch.linalg.cross(z, x), z])


def placed(part: Part, body: Part) -> Part:
    """The part moved along its own z axis until it is sunk a little into the body."""
    z = part.frame[2]
    depth = SUNK * reach(part)[2]
    away = (z.abs() @ reach(body)) + reach(part)[2] - 2 * depth
    outline = _part_mesh(part)[0] @ part.frame
    # a ring has nothing on its axis, so around a ball's pole it must go further; no ring is wider than a body
    while part.kind == "torus" and (gap := _distance(body, outline + away * z).min()) > -depth / 2:
        away = away - (gap + depth)
    return part._replace(center=away * z)


def normalized(shape: Shape) -> Shape:
    """Centred by its bounding box, longest side 1."""
    reaches = torch.stack([part.frame.abs().T @ reach(part) for part in shape.parts])
    centers = torch.stack([part.center for part in shape.parts])
    low, high = (centers - reaches).amin(0), (centers + reaches).amax(0)
    middle, scale = (low + high) / 2, 1 / (high - low).max()
    parts = (p._replace(size=p.size * scale, center=(p.center - middle) * scale) for p in shape.parts)
    return Shape(shape.caption, tuple(parts))


class Shapes:
    """`count` shapes, as a source of objects."""

    def __init__(self, *, count: Count, seed: Seed) -> None:
        self.count, self.seed = count, seed

    def load(self) -> list[Object]:
        """All of them, named by their captions."""
        made = (shape(self.seed, index) for index in range(self.count))
        return [Object(each.caption, mesh(each)) for each in made]

    def fingerprint(self) -> str:
        """Changes with the count, the seed and what an index means."""
        return cache.digest(FORMAT, "shapes", self.count, self.seed)
