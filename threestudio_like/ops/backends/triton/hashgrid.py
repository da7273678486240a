"""hashgrid on CUDA: blocks of points by levels; ops/hashgrid.py has the mathematics.

The table may be float16 or bfloat16: all sums are made in float32, those of its gradient by atomics. With w_c
the weight of corner c, t_c its row and g the gradient of the features, the gradient to a point is
sum_c (g . t_c) dw_c/dx. Its own gradients along v are those of sum_c (g . t_c) w'_c, w'_c = v . dw_c/dx.
"""

from typing import Any

import torch
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops.backends.triton.kernels import blocks, kernel, launch, power_of_two
from threestudio_like.ops.hashgrid import PRIMES

BLOCK = 256  # points of a program
N = tl.constexpr(BLOCK)
PRIME_Y = tl.constexpr(PRIMES[1])
PRIME_Z = tl.constexpr(PRIMES[2])


@kernel
def _cell(points, i, inside, axis, resolution):
    """Cell and fraction of one coordinate; a NaN stays in the fraction."""
    x = tl.load(points + 3 * i + axis, mask=inside, other=0.0)
    scaled = tl.where(x < 0, 0.0, tl.where(x > 1, 1.0, x)) * resolution
    cell = tl.minimum(tl.maximum(scaled.to(tl.int32), 0), resolution - 1)
    return cell, scaled - cell


@kernel
def _row(x, y, z, corner, resolution, size):
    """Row of the table that holds one corner of a cell."""
    x, y, z = x + corner % 2, y + corner // 2 % 2, z + corner // 4
    side = resolution + 1
    hashed = x.to(tl.uint32) ^ (y.to(tl.uint32) * PRIME_Y) ^ (z.to(tl.uint32) * PRIME_Z)
    dense = side.to(tl.int64) * side * side <= size
    return tl.where(dense, x + side * (y + side * z), (hashed & (size - 1).to(tl.uint32)).to(tl.int32))


@kernel
def _weights(u, v, w, corner):
    """One weight of a corner for each axis: 1 - fraction where the corner is low."""
    a = u if corner % 2 else 1 - u
    b = v if corner // 2 % 2 else 1 - v
    return a, b, w if corner // 4 else 1 - w


@kernel
def _signs(corner):
    """Their slopes."""
    return 2.0 * (corner % 2) - 1.0, 2.0 * (corner // 2 % 2) - 1.0, 2.0 * (corner // 4) - 1.0


@kernel
def _direction(points, along, i, inside, axis):
    """A component of v: 0 where the point was clamped."""
    x = tl.load(points + 3 * i + axis, mask=inside, other=0.0)
    return tl.where((x < 0) | (x > 1), 0.0, tl.load(along + 3 * i + axis, mask=inside, other=0.0))


@kernel
def _directions(points, along, i, inside, TURNED: tl.constexpr):
    """v, where it is asked for."""
    x, y, z = 0.0, 0.0, 0.0
    if TURNED:
        x = _direction(points, along, i, inside, 0)
        y = _direction(points, along, i, inside, 1)
        z = _direction(points, along, i, inside, 2)
    return x, y, z


@kernel
def _weight(u, v, w, vx, vy, vz, corner, resolution, TURNED: tl.constexpr):
    """w_c, or w'_c."""
    a, b, c = _weights(u, v, w, corner)
    if TURNED:
        p, q, r = _signs(corner)
        weight = (vx * p * b * c + vy * q * a * c + vz * r * a * b) * resolution
    else:
        weight = a * b * c
    return weight


@kernel
def _slopes(u, v, w, vx, vy, vz, corner, resolution, TURNED: tl.constexpr):
    """Derivatives of w_c, or of w'_c, along the axes."""
    a, b, c = _weights(u, v, w, corner)
    p, q, r = _signs(corner)
    if TURNED:
        x, y, z = p * (vy * q * c + vz * r * b), q * (vx * p * c + vz * r * a), r * (vx * p * b + vy * q * a)
        x, y, z = x * resolution, y * resolution, z * resolution
    else:
        x, y, z = p * b * c, q * a * c, r * a * b
    return x * resolution, y * resolution, z * resolution


@kernel
def _gather(
    points, along, table, sides, out, count, size, TURNED: tl.constexpr, F: tl.constexpr, LANES: tl.constexpr
):
    """Features of one block of points at one level."""
    level, levels = tl.program_id(1), tl.num_programs(1)
    i, f = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N), tl.arange(0, LANES)
    inside = i < count
    both = inside[:, None] & (f < F)[None, :]
    resolution = tl.load(sides + level)
    x, u = _cell(points, i, inside, 0, resolution)
    y, v = _cell(points, i, inside, 1, resolution)
    z, w = _cell(points, i, inside, 2, resolution)
    vx, vy, vz = _directions(points, along, i, inside, TURNED)
    rows = table + level.to(tl.int64) * size * F
    total = tl.zeros([N, LANES], tl.float32)
    for corner in tl.static_range(8):
        row = _row(x, y, z, corner, resolution, size)
        weight = _weight(u, v, w, vx, vy, vz, corner, resolution, TURNED)
        found = tl.load(rows + row[:, None] * F + f[None, :], mask=both, other=0.0)
        total += weight[:, None] * found.to(tl.float32)
    tl.store(out + i[:, None] * (levels * F) + level * F + f[None, :], total, mask=both)


@kernel
def _scatter(
    points, along, grad, sides, out, count, size, TURNED: tl.constexpr, F: tl.constexpr, LANES: tl.constexpr
):
    """Add what one block of points gives to one level's rows."""
    level, levels = tl.program_id(1), tl.num_programs(1)
    i, f = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N), tl.arange(0, LANES)
    inside = i < count
    both = inside[:, None] & (f < F)[None, :]
    resolution = tl.load(sides + level)
    x, u = _cell(points, i, inside, 0, resolution)
    y, v = _cell(points, i, inside, 1, resolution)
    z, w = _cell(points, i, inside, 2, resolution)
    vx, vy, vz = _directions(points, along, i, inside, TURNED)
    rows = out + level.to(tl.int64) * size * F
    g = tl.load(grad + i[:, None] * (levels * F) + level * F + f[None, :], mask=both, other=0.0)
    for corner in tl.static_range(8):
        row = _row(x, y, z, corner, resolution, size)
        weight = _weight(u, v, w, vx, vy, vz, corner, resolution, TURNED)
        tl.atomic_add(rows + row[:, None] * F + f[None, :], weight[:, None] * g, mask=both, sem="relaxed")


@kernel
def _slope(
    points,
    along,
    table,
    grad,
    sides,
    out,
    count,
    size,
    levels,
    TURNED: tl.constexpr,
    F: tl.constexpr,
    LANES: tl.constexpr,
):
    """Gradient of one block of points: level by level, so that their sum needs no atomics."""
    i, f = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N), tl.arange(0, LANES)
    inside = i < count
    both = inside[:, None] & (f < F)[None, :]
    vx, vy, vz = _directions(points, along, i, inside, TURNED)
    dx, dy, dz = tl.zeros([N], tl.float32), tl.zeros([N], tl.float32), tl.zeros([N], tl.float32)
    for level in range(levels):
        resolution = tl.load(sides + level)
        x, u = _cell(points, i, inside, 0, resolution)
        y, v = _cell(points, i, inside, 1, resolution)
        z, w = _cell(points, i, inside, 2, resolution)
        rows = table + tl.cast(level, tl.int64) * size * F
        g = tl.load(grad + i[:, None] * (levels * F) + level * F + f[None, :], mask=both, other=0.0)
        for corner in tl.static_range(8):
            row = _row(x, y, z, corner, resolution, size)
            found = tl.load(rows + row[:, None] * F + f[None, :], mask=both, other=0.0)
            s = tl.sum(g * found.to(tl.float32), axis=1)
            x_slope, y_slope, z_slope = _slopes(u, v, w, vx, vy, vz, corner, resolution, TURNED)
            dx, dy, dz = dx + s * x_slope, dy + s * y_slope, dz + s * z_slope
    _store(points, out, i, inside, 0, dx)
    _store(points, out, i, inside, 1, dy)
    _store(points, out, i, inside, 2, dz)


@kernel
def _store(points, out, i, inside, axis, value):
    """A gradient along one axis: 0 where the point was clamped."""
    x = tl.load(points + 3 * i + axis, mask=inside, other=0.0)
    tl.store(out + 3 * i + axis, tl.where((x < 0) | (x > 1), 0.0, value), mask=inside)


def _lanes(num_features: int) -> dict[str, Any]:
    return {"F": num_features, "LANES": power_of_two(num_features)}


def _features(points: Tensor, along: Tensor | None, table: Tensor, sides: Tensor) -> Tensor:
    """sum_c w_c t_c, or with w'_c along v."""
    num_levels, size, num_features = table.shape
    out = points.new_empty(len(points), num_levels * num_features)
    grid = blocks(len(points), BLOCK), num_levels
    given = points, points if along is None else along.contiguous(), table.contiguous(), sides, out
    launch(_gather, grid, *given, len(points), size, TURNED=along is not None, **_lanes(num_features))
    return out


def _to_table(points: Tensor, along: Tensor | None, grad: Tensor, sides: Tensor, table: Tensor) -> Tensor:
    """The gradient to the table, of which only the shape and the type are used."""
    num_levels, size, num_features = table.shape
    out = torch.zeros(table.shape, dtype=torch.float32, device=points.device)
    grid = blocks(len(points), BLOCK), num_levels
    given = points, points if along is None else along.contiguous(), grad.contiguous(), sides, out
    launch(_scatter, grid, *given, len(points), size, TURNED=along is not None, **_lanes(num_features))
    return out.to(table.dtype)


def _to_points(points: Tensor, along: Tensor | None, table: Tensor, grad: Tensor, sides: Tensor) -> Tensor:
    """sum_c (g . t_c) dw_c/dx, or of w'_c."""
    num_levels, size, num_features = table.shape
    out = torch.empty_like(points)
    tensors = (
        points if along is None else along.contiguous(),
        table.contiguous(),
        grad.contiguous(),
        sides,
        out,
    )
    sizes = len(points), size, num_levels
    grid = (blocks(len(points), BLOCK),)
    launch(_slope, grid, points, *tensors, *sizes, TURNED=along is not None, **_lanes(num_features))
    return out


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, sides: Tensor) -> Tensor:
        ctx.save_for_backward(points, table, sides)
        return _features(points, None, table, sides)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        points, table, sides = ctx.saved_tensors
        needs_points, needs_table, _ = ctx.needs_input_grad
        to_points = _Slope.apply(points, table, gradients[0], sides) if needs_points else None
        to_table = _Scatter.apply(points, table, gradients[0], sides) if needs_table else None
        return to_points, to_table, None


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, grad: Tensor, sides: Tensor) -> Tensor:
        ctx.save_for_backward(points, grad, sides)
        return _to_table(points, None, grad, sides, table)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        points, grad, sides = ctx.saved_tensors
        needs_points, _, needs_grad, _ = ctx.needs_input_grad
        to_points = _Slope.apply(points, gradients[0], grad, sides) if needs_points else None
        return to_points, None, _Gather.apply(points, gradients[0], sides) if needs_grad else None, None


class _Slope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, grad: Tensor, sides: Tensor) -> Tensor:
        ctx.save_for_backward(points, table, grad, sides)
        return _to_points(points, None, table, grad, sides)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        points, table, grad, sides = ctx.saved_tensors
        needs_points, needs_table, needs_grad, _ = ctx.needs_input_grad
        along = gradients[0]
        return (
            _to_points(points, along, table, grad, sides) if needs_points else None,
            _to_table(points, along, grad, sides, table) if needs_table else None,
            _features(points, along, table, sides) if needs_grad else None,
            None,
        )


def hashgrid(
    points: Float[Tensor, "N 3"], table: Float[Tensor, "L T F"], resolutions: tuple[int, ...]
) -> Float[Tensor, "N LF"]:
    """See ops.hashgrid."""
    sides = torch.tensor(resolutions, dtype=torch.int32).to(points.device, non_blocking=True)
    return _Gather.apply(points.contiguous(), table, sides)
