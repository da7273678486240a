"""march_occupied on the CPU; ops/occupancy.py has the mathematics.

Blocks of 8 x 8 x 8 cells that are all empty are crossed in one step, the others interval by interval. What a
ray keeps is noted in a room large enough for all of its intervals, and then brought together.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from threestudio_like.ops.backends.numba.kernels import exact, kernel, run
from threestudio_like.ops.march import PARALLEL
from threestudio_like.ops.occupancy import Packed

TASKS = 16
SHIFT = 3
BLOCK = 1 << SHIFT  # cells a side
HALF = np.float32(0.5)
CAREFUL = 0.1  # intervals by which a step across a block falls short: more than any rounding


@kernel
def _blocks(occupied):
    """Which blocks of cells have an occupied one."""
    resolution = len(occupied)
    size = (resolution + BLOCK - 1) >> SHIFT
    some = np.zeros((size, size, size), np.bool_)
    for z in range(resolution):
        for y in range(resolution):
            row = occupied[z, y]
            for b in range(size):
                found = False
                for x in range(b * BLOCK, min((b + 1) * BLOCK, resolution)):
                    found |= row[x]
                some[z >> SHIFT, y >> SHIFT, b] |= found
    return some


@exact
def _interval(number, near, far, phase, step):
    """Start and end; rounded as the reference does, so that both keep the same ones."""
    start = max(near + (np.float32(number) - phase) * step, near)
    end = min(near + (np.float32(number + 1) - phase) * step, far)
    return start, end


@exact
def _cell(x, radius, scale, resolution):
    scaled = (x + radius) * scale
    return min(np.int64(scaled) if scaled > 0 else 0, resolution - 1)


@exact
def _inverse(x):
    """1 / x, and large where the ray is parallel to the planes across this axis."""
    return 1.0 / (x if abs(x) > PARALLEL else PARALLEL)


@exact
def _way_out(cell, x, inverse, width, radius):
    """Distance from x at which a ray leaves the cell's block along one axis."""
    side = (cell >> SHIFT) + (inverse > 0)
    return (side * (BLOCK * width) - radius - x) * inverse


@exact
def _march_ray(origin, direction, near, far, phase, step, radius, occupied, some, kept):
    """Numbers of the intervals that are kept, and how many."""
    resolution = len(occupied)
    scale, edge = np.float32(resolution / (2.0 * radius)), np.float32(radius)
    width = 2.0 * radius / resolution
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    ix, iy, iz, per = _inverse(dx), _inverse(dy), _inverse(dz), 1.0 / step
    count, number = 0, 0
    while number < len(kept):
        start, end = _interval(number, near, far, phase, step)
        middle = HALF * (start + end)
        x = _cell(ox + middle * dx, edge, scale, resolution)
        y = _cell(oy + middle * dy, edge, scale, resolution)
        z = _cell(oz + middle * dz, edge, scale, resolution)
        if some[z >> SHIFT, y >> SHIFT, x >> SHIFT]:
            if occupied[z, y, x] and end > start:
                kept[count] = number
                count += 1
            number += 1
        else:
            out_x = _way_out(x, ox, ix, width, radius)
            out_y = _way_out(y, oy, iy, width, radius)
            out = min(out_x, out_y, _way_out(z, oz, iz, width, radius))
            across = (out - near) * per + phase - (0.5 + CAREFUL)
            number = max(number + 1, np.int64(min(across, np.float64(len(kept)))))
    return count


@kernel
def _march(
    task, step, tasks, origins, directions, near, far, phase, length, radius, grid, rooms, kept, counts
):
    occupied, some = grid
    for t in range(task, tasks, step):
        for n in range(len(near) * t // tasks, len(near) * (t + 1) // tasks):
            origin = origins[n, 0], origins[n, 1], origins[n, 2]
            direction = directions[n, 0], directions[n, 1], directions[n, 2]
            room = kept[rooms[n] : rooms[n + 1]]
            counts[n] = _march_ray(
                origin, direction, near[n], far[n], phase[n], length, radius, occupied, some, room
            )


@kernel
def _gather(task, step, tasks, near, far, phase, length, rooms, kept, ends, ray, start, end):
    for t in range(task, tasks, step):
        for n in range(len(near) * t // tasks, len(near) * (t + 1) // tasks):
            for i in range(ends[n], ends[n + 1]):
                ray[i] = n
                number = kept[rooms[n] + i - ends[n]]
                start[i], end[i] = _interval(number, near[n], far[n], phase[n], length)


def _ends(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])


@torch.no_grad()
def march_occupied(
    origins: Float[Tensor, "N 3"],
    directions: Float[Tensor, "N 3"],
    near: Float[Tensor, " N"],
    far: Float[Tensor, " N"],
    occupied: Bool[Tensor, "R R R"],
    radius: float,
    step: float,
    phase: Float[Tensor, " N"],
) -> Packed:
    """See ops.occupancy."""
    bounds = [part.contiguous().numpy() for part in (near, far, phase)]
    spans = torch.where(far > near, (far - near) / step + phase, 0.0)
    rooms = _ends((spans.ceil().long() + 1).numpy())
    kept = np.empty(rooms[-1], np.int32)  # memory that is not written is never taken
    counts = np.empty(len(near), np.int64)
    length, cells = np.float32(step), occupied.contiguous().numpy()
    grid = (cells, _blocks(cells))
    lines = [part.contiguous().numpy() for part in (origins, directions)]
    run(_march, TASKS, TASKS, *lines, *bounds, length, radius, grid, rooms, kept, counts)
    ends = _ends(counts)
    ray = np.empty(ends[-1], np.int64)
    start, end = np.empty((2, ends[-1]), np.float32)
    run(_gather, TASKS, TASKS, *bounds, length, rooms, kept, ends, ray, start, end)
    return Packed(torch.from_numpy(ray), torch.from_numpy(start), torch.from_numpy(end))
