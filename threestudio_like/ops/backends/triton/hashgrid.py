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

BLOCK = 256  # points
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
def _gather(
    points,
    table,
    resolutions,
    out,
    count,
    size,
    num_levels,
    F: tl.constexpr,
    LANES: tl.constexpr,
    N: tl.constexpr,
):
    """Features of one block of points at one level."""
    level = tl.program_id(1)
    i, f = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N), tl.arange(0, LANES)
    inside = i < count
    both = inside[:, None] & (f < F)[None, :]
    resolution = tl.load(resolutions + level)
    x, u = _cell(points, i, inside, 0, resolution)
    y, v = _cell(points, i, inside, 1, resolution)
    z, w = _cell(points, i, inside, 2, resolution)
    rows = table + level.to(tl.int64) * size * F
    total = tl.zeros([N, LANES], tl.float32)
    for corner in tl.static_range(8):
        row = _row(x, y, z, corner, resolution, size)
        a, b, c = _weights(u, v, w, corner)
        found = tl.load(rows + row[:, None] * F + f[None, :], mask=both, other=0.0)
        total += (a * b * c)[:, None] * found.to(tl.float32)
    tl.store(out + i[:, None] * (num_levels * F) + level * F + f[None, :], total, mask=both)


@kernel
def _scatter(
    points,
    grad,
    resolutions,
    out,
    count,
    size,
    num_levels,
    F: tl.constexpr,
    LANES: tl.constexpr,
    N: tl.constexpr,
):
    """Add what one block of points gives to one level's rows."""
    level = tl.program_id(1)
    i, f = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N), tl.arange(0, LANES)
    inside = i < count
    both = inside[:, None] & (f < F)[None, :]
    resolution = tl.load(resolutions + level)
    x, u = _cell(points, i, inside, 0, resolution)
    y, v = _cell(points, i, inside, 1, resolution)
    z, w = _cell(points, i, inside, 2, resolution)
    rows = out + level.to(tl.int64) * size * F
    g = tl.load(grad + i[:, None] * (num_levels * F) + level * F + f[None, :], mask=both, other=0.0)
    for corner in tl.static_range(8):
        row = _row(x, y, z, corner, resolution, size)
        a, b, c = _weights(u, v, w, corner)
        tl.atomic_add(
            rows + row[:, None] * F + f[None, :], (a * b * c)[:, None] * g, mask=both, sem="relaxed"
        )


@kernel
def _slope(
    points,
    table,
    grad,
    resolutions,
    out,
    count,
    size,
    num_levels,
    F: tl.constexpr,
    LANES: tl.constexpr,
    N: tl.constexpr,
):
    """Gradient of one block of points: level by level, so that their sum needs no atomics."""
    i, f = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N), tl.arange(0, LANES)
    inside = i < count
    both = inside[:, None] & (f < F)[None, :]
    dx, dy, dz = tl.zeros([N], tl.float32), tl.zeros([N], tl.float32), tl.zeros([N], tl.float32)
    for level in range(num_levels):
        resolution = tl.load(resolutions + level)
        x, u = _cell(points, i, inside, 0, resolution)
        y, v = _cell(points, i, inside, 1, resolution)
        z, w = _cell(points, i, inside, 2, resolution)
        rows = table + tl.cast(level, tl.int64) * size * F
        g = tl.load(grad + i[:, None] * (num_levels * F) + level * F + f[None, :], mask=both, other=0.0)
        for corner in tl.static_range(8):
            row = _row(x, y, z, corner, resolution, size)
            a, b, c = _weights(u, v, w, corner)
            p, q, r = _signs(corner)
            found = tl.load(rows + row[:, None] * F + f[None, :], mask=both, other=0.0)
            s = tl.sum(g * found.to(tl.float32), axis=1) * resolution
            dx += s * p * b * c
            dy += s * q * a * c
            dz += s * r * a * b
    _store(points, out, i, inside, 0, dx)
    _store(points, out, i, inside, 1, dy)
    _store(points, out, i, inside, 2, dz)


@kernel
def _store(points, out, i, inside, axis, value):
    """A gradient along one axis: 0 where the point was clamped."""
    x = tl.load(points + 3 * i + axis, mask=inside, other=0.0)
    tl.store(out + 3 * i + axis, tl.where((x < 0) | (x > 1), 0.0, value), mask=inside)


@kernel
def _load(points, along, i, inside, axis):
    """A direction's component: 0 where the point was clamped."""
    x = tl.load(points + 3 * i + axis, mask=inside, other=0.0)
    return tl.where((x < 0) | (x > 1), 0.0, tl.load(along + 3 * i + axis, mask=inside, other=0.0))


@kernel
def _turn(
    points,
    table,
    grad,
    along,
    resolutions,
    to_points,
    to_table,
    to_grad,
    count,
    size,
    num_levels,
    F: tl.constexpr,
    LANES: tl.constexpr,
    N: tl.constexpr,
):
    """Gradients of `along` . the gradient of one block of points."""
    i, f = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N), tl.arange(0, LANES)
    inside = i < count
    both = inside[:, None] & (f < F)[None, :]
    vx = _load(points, along, i, inside, 0)
    vy = _load(points, along, i, inside, 1)
    vz = _load(points, along, i, inside, 2)
    dx, dy, dz = tl.zeros([N], tl.float32), tl.zeros([N], tl.float32), tl.zeros([N], tl.float32)
    for level in range(num_levels):
        resolution = tl.load(resolutions + level)
        x, u = _cell(points, i, inside, 0, resolution)
        y, v = _cell(points, i, inside, 1, resolution)
        z, w = _cell(points, i, inside, 2, resolution)
        start = tl.cast(level, tl.int64) * size * F
        column = i[:, None] * (num_levels * F) + level * F + f[None, :]
        g = tl.load(grad + column, mask=both, other=0.0)
        total = tl.zeros([N, LANES], tl.float32)
        for corner in tl.static_range(8):
            place = start + _row(x, y, z, corner, resolution, size)[:, None] * F + f[None, :]
            a, b, c = _weights(u, v, w, corner)
            p, q, r = _signs(corner)
            found = tl.load(table + place, mask=both, other=0.0).to(tl.float32)
            turned = ((vx * p * b * c + vy * q * a * c + vz * r * a * b) * resolution)[:, None]
            total += turned * found
            tl.atomic_add(to_table + place, turned * g, mask=both, sem="relaxed")
            s = tl.sum(g * found, axis=1) * resolution * resolution
            dx += s * p * (vy * q * c + vz * r * b)
            dy += s * q * (vx * p * c + vz * r * a)
            dz += s * r * (vx * p * b + vy * q * a)
        tl.store(to_grad + column, total, mask=both)
    _store(points, to_points, i, inside, 0, dx)
    _store(points, to_points, i, inside, 1, dy)
    _store(points, to_points, i, inside, 2, dz)


def _sizes(points: Tensor, table: Tensor) -> tuple[tuple[int, ...], dict[str, Any]]:
    """What all kernels want to know."""
    num_levels, size, features = table.shape
    constants = {"F": features, "LANES": power_of_two(features), "N": BLOCK}
    return (len(points), size, num_levels), constants


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, resolutions: Tensor) -> Tensor:
        points, table = points.contiguous(), table.contiguous()
        ctx.save_for_backward(points, table, resolutions)
        sizes, constants = _sizes(points, table)
        out = points.new_empty(len(points), table.shape[0] * table.shape[2])
        grid = (blocks(len(points), BLOCK), len(table))
        launch(_gather, grid, points, table, resolutions, out, *sizes, **constants)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        points, table, resolutions = ctx.saved_tensors
        needs_points, needs_table, _ = ctx.needs_input_grad
        to_points = _Slope.apply(points, table, gradients[0], resolutions) if needs_points else None
        to_table = _Scatter.apply(points, table, gradients[0], resolutions) if needs_table else None
        return to_points, to_table, None


class _Scatter(torch.autograd.Function):
    """Gradient to the table, of which only the shape and the type are used."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, grad: Tensor, resolutions: Tensor) -> Tensor:
        grad = grad.contiguous()
        ctx.save_for_backward(points, grad, resolutions)
        sizes, constants = _sizes(points, table)
        out = torch.zeros(table.shape, dtype=torch.float32, device=table.device)
        grid = (blocks(len(points), BLOCK), len(table))
        launch(_scatter, grid, points, grad, resolutions, out, *sizes, **constants)
        return out.to(table.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        points, grad, resolutions = ctx.saved_tensors
        needs_points, _, needs_grad, _ = ctx.needs_input_grad
        to_points = _Slope.apply(points, gradients[0], grad, resolutions) if needs_points else None
        return to_points, None, _Gather.apply(points, gradients[0], resolutions) if needs_grad else None, None


class _Slope(torch.autograd.Function):
    """Gradient to the points."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, grad: Tensor, resolutions: Tensor) -> Tensor:
        table, grad = table.contiguous(), grad.contiguous()
        ctx.save_for_backward(points, table, grad, resolutions)
        sizes, constants = _sizes(points, table)
        out = torch.empty_like(points)
        launch(
            _slope, (blocks(len(points), BLOCK),), points, table, grad, resolutions, out, *sizes, **constants
        )
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        points, table, grad, resolutions = ctx.saved_tensors
        sizes, constants = _sizes(points, table)
        to_points, to_grad = torch.empty_like(points), torch.empty_like(grad)
        to_table = torch.zeros(table.shape, dtype=torch.float32, device=table.device)
        tensors = points, table, grad, gradients[0].contiguous(), resolutions, to_points, to_table, to_grad
        launch(_turn, (blocks(len(points), BLOCK),), *tensors, *sizes, **constants)
        return to_points, to_table.to(table.dtype), to_grad, None


def hashgrid(
    points: Float[Tensor, "N 3"], table: Float[Tensor, "L T F"], resolutions: tuple[int, ...]
) -> Float[Tensor, "N LF"]:
    """See ops.hashgrid."""
    sides = torch.tensor(resolutions, dtype=torch.int32).to(points.device, non_blocking=True)
    return _Gather.apply(points, table, sides)
