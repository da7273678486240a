"""How near a shape is to the true one: overlap of the volumes, Chamfer distance, angle between normals.

Meshes may be open, doubled or wound anyhow: a shape is what is seen of it from outside, by parallel depth
maps from all around. Space that some map sees past is outside (space carving, Kutulakos and Seitz 2000);
prediction and truth are treated alike.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from threestudio_like.ops.mesh import spread
from threestudio_like.ops.raster import rasterize
from threestudio_like.records import Mesh

SIZE = 384  # of a depth map, pixels a side
BATCH = 8  # depth maps drawn at once
CHUNK = 2048  # points compared at once
SLACK = 0.01  # of the box: how far behind what is seen a point of the surface may lie and count as seen


class Depths(NamedTuple):
    """Parallel depth maps of K directions; coordinates are divided by `scale`, into [-1, 1]."""

    frames: Float[Tensor, "K 3 3"]  # rows: right, down, away
    depth: Float[Tensor, "K S S"]  # infinite where nothing is
    scale: float


def around(count: int) -> Float[Tensor, "K 3 3"]:
    """Frames that look at the origin from a Fibonacci spiral on the sphere."""
    index = torch.arange(count) + 0.5
    z, turn = 1 - 2 * index / count, index * (math.pi * (3 - math.sqrt(5)))
    away = torch.stack(
        [torch.sqrt(1 - z * z) * torch.cos(turn), torch.sqrt(1 - z * z) * torch.sin(turn), z], -1
    )
    right = F.normalize(torch.stack([-away[:, 1], away[:, 0], torch.zeros(count)], -1), dim=-1)
    return torch.stack([right, torch.linalg.cross(away, right), away], dim=1)


def depths(mesh: Mesh, reach: float, num_views: int) -> Depths:
    """Depth maps of what is inside the ball around the box [-reach, reach]^3."""
    frames, scale = around(num_views), reach * math.sqrt(3)
    maps = []
    for part in frames.split(BATCH):
        clip = F.pad(torch.einsum("kij,vj->kvi", part, mesh.vertices.detach()) / scale, (0, 1), value=1.0)
        fragments = rasterize(clip.contiguous(), mesh.faces, SIZE, SIZE)
        maps.append(torch.where(fragments.face < 0, torch.inf, fragments.depth[..., 0]))
    return Depths(frames, torch.cat(maps), scale)


def _seen(maps: Depths, points: Float[Tensor, "N 3"], slack: float) -> Bool[Tensor, " N"]:
    """Whether some map sees a point, or past it, at all four pixels around it."""
    seen = torch.zeros(len(points), dtype=torch.bool)
    for frame, depth in zip(maps.frames, maps.depth, strict=True):
        place = points @ frame.T / maps.scale
        nearest = -F.max_pool2d(-depth[None], 2, stride=1)[0]  # of each 2 x 2 pixels
        column, row = ((place[:, :2] + 1) * (SIZE / 2) - 0.5).floor().long().clamp(0, SIZE - 2).unbind(-1)
        seen |= place[:, 2] < nearest[row, column] + slack
    return seen


def occupancy(maps: Depths, reach: float, resolution: int) -> Bool[Tensor, "R R R"]:
    """Which cells of the box [-reach, reach]^3 have their middle in the shape; indexed by x, y, z."""
    middles = (torch.arange(resolution) + 0.5) * (2 * reach / resolution) - reach
    points = torch.cartesian_prod(middles, middles, middles)
    return ~_seen(maps, points, 0.0).view(resolution, resolution, resolution)


def volume_iou(one: Bool[Tensor, "R R R"], other: Bool[Tensor, "R R R"]) -> float:
    """Intersection over union; 1 if both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def overlap(one: Mesh, other: Mesh, directions: int, resolution: int) -> float:
    """Intersection over union of two volumes, as they are seen from so many directions; cells a side."""
    reach = 1.02 * float(torch.stack([one.vertices.abs().max(), other.vertices.abs().max()]).max())
    inside = [occupancy(depths(each, reach, directions), reach, resolution) for each in (one, other)]
    return volume_iou(*inside)


def core(inside: Bool[Tensor, "R R R"]) -> float:
    """The share of the shape's cells whose 26 neighbours are in it too: near 0 for thin ones, 0 if empty."""
    empty = 1 - inside[None, None].float()
    deep = F.max_pool3d(empty, 3, stride=1, padding=1) == 0
    return int(deep.sum()) / max(int(inside.sum()), 1)


class Solid:
    """Callable: whether an object has an inside to speak of, so that its volume says how well it was made.

    directions: of the depth maps that say what is inside. reach: half the side of the box that cells fill.
    resolution: cells a side. least: `core` of an object that counts.
    """

    def __init__(self, *, directions: int, reach: float, resolution: int, least: float) -> None:
        self.directions, self.reach, self.resolution, self.least = directions, reach, resolution, least

    def __call__(self, mesh: Mesh) -> bool:
        """By its core."""
        maps = depths(mesh, self.reach, self.directions)
        return core(occupancy(maps, self.reach, self.resolution)) >= self.least


def surface_points(mesh: Mesh, maps: Depths, count: int, seed: int) -> Float[Tensor, "N 3"]:
    """Of `count` points, spread evenly over the faces by area, those that some map sees."""
    generator = torch.Generator().manual_seed(seed)
    points = spread(mesh.vertices.detach(), mesh.faces, count, generator)
    return points[_seen(maps, points, SLACK)]


def chamfer(one: Float[Tensor, "N 3"], other: Float[Tensor, "M 3"]) -> float:
    """Half the sum of the mean distances to the other set's nearest point, both ways; not squared."""
    forward, backward = _nearest(one, other).mean(), _nearest(other, one).mean()
    return float(0.5 * (forward + backward))


def _nearest(points: Float[Tensor, "N 3"], others: Float[Tensor, "M 3"]) -> Float[Tensor, " N"]:
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cat([torch.cdist(p, others, compute_mode=exact).amin(1) for p in points.split(CHUNK)])


def normal_error_deg(one: Float[Tensor, "*n 3"], other: Float[Tensor, "*n 3"]) -> float:
    """Mean angle in degrees where both have a normal (are not 0); not a number if they nowhere do."""
    both = (one.square().sum(-1) > 0) & (other.square().sum(-1) > 0)
    a, b = F.normalize(one[both], dim=-1), F.normalize(other[both], dim=-1)
    # atan2 is exact near 0 and 180 degrees, where the arc cosine of a float32 is not
    angle = torch.atan2(torch.linalg.vector_norm(torch.linalg.cross(a, b), dim=-1), (a * b).sum(-1))
    return float(torch.rad2deg(angle.mean()))
