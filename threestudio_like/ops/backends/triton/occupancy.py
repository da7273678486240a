"""march_occupied on CUDA: one program for each ray; ops/occupancy.py has the mathematics.

N intervals at a time are looked up; a first pass counts those that are kept, a second writes them where the
counts before say. Both round as the reference does, so that the same ones are kept.
"""

from typing import Any

import torch
import triton.language as tl
from jaxtyping import Bool, Float
from torch import Tensor

from threestudio_like.ops.backends.triton.kernels import kernel, launch
from threestudio_like.ops.occupancy import Packed

LANES: dict[str, Any] = {"N": 64, "num_warps": 1, "fuse": False}


@kernel
def _interval(number, near, far, phase, step):
    """Start and end."""
    start = tl.maximum(near + (number - phase) * step, near)
    return start, tl.minimum(near + (number + 1 - phase) * step, far)


@kernel
def _number(near, far, phase, step):
    """How many there may be; one more than there are for sure, as division may be rounded down."""
    return ((far - near) / step + phase).to(tl.int32) + 2


@kernel
def _cell(origins, directions, ray, axis, distance, radius, scale, resolution):
    """The cell along one axis; the nearest one for a point outside."""
    x = tl.load(origins + 3 * ray + axis) + distance * tl.load(directions + 3 * ray + axis)
    scaled = (x + radius) * scale
    # held before it becomes a whole number, which a large one would not fit
    return tl.minimum(tl.maximum(scaled, 0.0), resolution - 1.0).to(tl.int32)


@kernel
def _kept(origins, directions, occupied, ray, start, end, radius, scale, resolution):
    """Whether intervals are not empty and their middles are in occupied cells."""
    middle = 0.5 * (start + end)
    x = _cell(origins, directions, ray, 0, middle, radius, scale, resolution)
    y = _cell(origins, directions, ray, 1, middle, radius, scale, resolution)
    z = _cell(origins, directions, ray, 2, middle, radius, scale, resolution)
    some = end > start
    return some & (tl.load(occupied + (z * resolution + y) * resolution + x, mask=some, other=0) != 0)


@kernel
def _count(
    origins, directions, near, far, phase, occupied, counts, step, radius, scale, resolution, N: tl.constexpr
):
    ray = tl.program_id(0).to(tl.int64)
    low, high, offset = tl.load(near + ray), tl.load(far + ray), tl.load(phase + ray)
    total = tl.zeros([N], tl.int32)
    for first in range(0, _number(low, high, offset, step), N):
        start, end = _interval(first + tl.arange(0, N), low, high, offset, step)
        kept = _kept(origins, directions, occupied, ray, start, end, radius, scale, resolution)
        total += kept.to(tl.int32)
    tl.store(counts + ray, tl.sum(total, axis=0))


@kernel
def _write(
    origins,
    directions,
    near,
    far,
    phase,
    occupied,
    ends,
    rays,
    starts,
    stops,
    step,
    radius,
    scale,
    resolution,
    N: tl.constexpr,
):
    ray = tl.program_id(0).to(tl.int64)
    low, high, offset = tl.load(near + ray), tl.load(far + ray), tl.load(phase + ray)
    place = tl.load(ends + ray)
    for first in range(0, _number(low, high, offset, step), N):
        start, end = _interval(first + tl.arange(0, N), low, high, offset, step)
        kept = _kept(origins, directions, occupied, ray, start, end, radius, scale, resolution)
        i = place + tl.cumsum(kept.to(tl.int32), axis=0) - 1
        tl.store(rays + i, tl.zeros([N], tl.int64) + ray, mask=kept)
        tl.store(starts + i, start, mask=kept)
        tl.store(stops + i, end, mask=kept)
        place += tl.sum(kept.to(tl.int32), axis=0)


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
    rays = [part.contiguous() for part in (origins, directions, near, far, phase)]
    cells = occupied.contiguous().view(torch.uint8)
    resolution = len(occupied)
    lattice = float(step), float(radius), resolution / (2 * radius), resolution
    counts = torch.zeros(len(near), dtype=torch.int32, device=near.device)
    launch(_count, (len(near),), *rays, cells, counts, *lattice, **LANES)
    ends = torch.cat([counts.new_zeros(1, dtype=torch.int64), counts.cumsum(0)])
    total = int(ends[-1])
    found = Packed(ends.new_empty(total), near.new_empty(total), near.new_empty(total))
    launch(_write, (len(near),), *rays, cells, ends, *found, *lattice, **LANES)
    return found
