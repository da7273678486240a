"""hashgrid on the CPU, all levels in one pass; ops/hashgrid.py has the mathematics.

Blocks of points are the tasks, save for the table's gradient: there whole levels are, so that no two threads
write one row and every sum has one order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from threestudio_like.ops import hashgrid as op
from threestudio_like.ops.backends.numba.kernels import kernel, part, run

BLOCK = (
    65536  # points that go through a level before the next: enough to pay for bringing its table into cache
)
PRIME_Y = np.uint32(op.PRIMES[1])
PRIME_Z = np.uint32(op.PRIMES[2])
ZERO = np.float32(0)
ONE = np.float32(1)


@part
def _cell(x, resolution):
    """Cell and fraction of one coordinate; a NaN is in cell 0 and stays in the fraction."""
    clamped = ZERO if x < ZERO else (ONE if x > ONE else x)
    scaled = clamped * np.float32(resolution)
    cell = min(max(np.int32(scaled), np.int32(0)), np.int32(resolution - 1))
    return np.uint32(cell), scaled - np.float32(cell)


@part
def _rows(x, y, z, resolution, mask, dense):
    """Rows of a cell's eight corners, x fastest; unsigned, which spares the check for negative indices."""
    x1 = x + np.uint32(1)
    if dense:
        side = np.uint32(resolution + 1)
        a = (z * side + y) * side
        b, c = a + side, a + side * side
        d = b + side * side
        low = (x + a, x1 + a, x + b, x1 + b, x + c, x1 + c, x + d, x1 + d)
    else:
        y0, z0 = y * PRIME_Y, z * PRIME_Z
        y1, z1 = y0 + PRIME_Y, z0 + PRIME_Z
        a, b, c, d = (y0 ^ z0) & mask, (y1 ^ z0) & mask, (y0 ^ z1) & mask, (y1 ^ z1) & mask
        x, x1 = x & mask, x1 & mask
        low = (x ^ a, x1 ^ a, x ^ b, x1 ^ b, x ^ c, x1 ^ c, x ^ d, x1 ^ d)
    r0, r1, r2, r3, r4, r5, r6, r7 = low
    wide = np.uint64
    return wide(r0), wide(r1), wide(r2), wide(r3), wide(r4), wide(r5), wide(r6), wide(r7)


@part
def _gather(points, first, last, rows, resolution, dense, out, column, lanes):
    """One level's features of points[first:last]."""
    mask = np.uint32(len(rows) - 1)
    for i in range(first, last):
        x, u = _cell(points[i, 0], resolution)
        y, v = _cell(points[i, 1], resolution)
        z, w = _cell(points[i, 2], resolution)
        r0, r1, r2, r3, r4, r5, r6, r7 = _rows(x, y, z, resolution, mask, dense)
        a, b, c, d = (ONE - v) * (ONE - w), v * (ONE - w), (ONE - v) * w, v * w
        for f in range(len(lanes)):
            low = a * rows[r0, f] + b * rows[r2, f] + c * rows[r4, f] + d * rows[r6, f]
            high = a * rows[r1, f] + b * rows[r3, f] + c * rows[r5, f] + d * rows[r7, f]
            out[i, column + f] = low + u * (high - low)


@kernel
def _forward(task, step, block, points, table, resolutions, lanes, out):
    for start in range(task * block, len(points), step * block):
        first, last = np.uint64(start), np.uint64(min(start + block, len(points)))
        for level in range(len(table)):
            resolution, column = resolutions[level], np.uint64(level * len(lanes))
            if (resolution + 1) ** 3 <= table.shape[1]:
                _gather(points, first, last, table[level], resolution, True, out, column, lanes)
            else:
                _gather(points, first, last, table[level], resolution, False, out, column, lanes)


@part
def _scatter(points, first, last, resolution, dense, grad, column, lanes, rows_grad):
    """Adds what points[first:last] give to one level's rows."""
    mask = np.uint32(len(rows_grad) - 1)
    for i in range(first, last):
        x, u = _cell(points[i, 0], resolution)
        y, v = _cell(points[i, 1], resolution)
        z, w = _cell(points[i, 2], resolution)
        r0, r1, r2, r3, r4, r5, r6, r7 = _rows(x, y, z, resolution, mask, dense)
        a, b, c, d = (ONE - v) * (ONE - w), v * (ONE - w), (ONE - v) * w, v * w
        for f in range(len(lanes)):
            high = u * grad[i, column + f]
            low = grad[i, column + f] - high
            rows_grad[r0, f] += a * low
            rows_grad[r1, f] += a * high
            rows_grad[r2, f] += b * low
            rows_grad[r3, f] += b * high
            rows_grad[r4, f] += c * low
            rows_grad[r5, f] += c * high
            rows_grad[r6, f] += d * low
            rows_grad[r7, f] += d * high


@part
def _slope(points, first, last, rows, resolution, dense, grad, column, lanes, points_grad):
    """Adds one level's share of the gradient of points[first:last]."""
    mask = np.uint32(len(rows) - 1)
    for i in range(first, last):
        x, u = _cell(points[i, 0], resolution)
        y, v = _cell(points[i, 1], resolution)
        z, w = _cell(points[i, 2], resolution)
        r0, r1, r2, r3, r4, r5, r6, r7 = _rows(x, y, z, resolution, mask, dense)
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = ZERO
        for f in range(len(lanes)):
            g = grad[i, column + f]
            s0, s1 = s0 + g * rows[r0, f], s1 + g * rows[r1, f]
            s2, s3 = s2 + g * rows[r2, f], s3 + g * rows[r3, f]
            s4, s5 = s4 + g * rows[r4, f], s5 + g * rows[r5, f]
            s6, s7 = s6 + g * rows[r6, f], s7 + g * rows[r7, f]
        v0, w0, scale = ONE - v, ONE - w, np.float32(resolution)
        dx = w0 * (v0 * (s1 - s0) + v * (s3 - s2)) + w * (v0 * (s5 - s4) + v * (s7 - s6))
        s0, s2, s4, s6 = s0 + u * (s1 - s0), s2 + u * (s3 - s2), s4 + u * (s5 - s4), s6 + u * (s7 - s6)
        points_grad[i, 0] += scale * dx
        points_grad[i, 1] += scale * (w0 * (s2 - s0) + w * (s6 - s4))
        points_grad[i, 2] += scale * (v0 * (s4 - s0) + v * (s6 - s2))


@kernel
def _backward_table(task, step, points, grad, resolutions, lanes, table_grad):
    for level in range(task, len(table_grad), step):
        table_grad[level] = ZERO
    for start in range(0, len(points), BLOCK):
        first, last = np.uint64(start), np.uint64(min(start + BLOCK, len(points)))
        for level in range(task, len(table_grad), step):
            resolution, column = resolutions[level], np.uint64(level * len(lanes))
            if (resolution + 1) ** 3 <= table_grad.shape[1]:
                _scatter(points, first, last, resolution, True, grad, column, lanes, table_grad[level])
            else:
                _scatter(points, first, last, resolution, False, grad, column, lanes, table_grad[level])


@kernel
def _backward_points(task, step, block, points, table, grad, resolutions, lanes, points_grad):
    for start in range(task * block, len(points), step * block):
        first, last = np.uint64(start), np.uint64(min(start + block, len(points)))
        for level in range(len(table)):
            resolution, column = resolutions[level], np.uint64(level * len(lanes))
            if (resolution + 1) ** 3 <= table.shape[1]:
                _slope(points, first, last, table[level], resolution, True, grad, column, lanes, points_grad)
            else:
                _slope(points, first, last, table[level], resolution, False, grad, column, lanes, points_grad)
        for i in range(first, last):
            for k in range(3):
                if points[i, k] < ZERO or points[i, k] > ONE:  # clamped
                    points_grad[i, k] = ZERO


class _HashGrid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, resolutions: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(points, table)
        ctx.resolutions = resolutions
        out = points.new_empty(len(points), table.shape[0] * table.shape[2])
        lanes = (0,) * table.shape[2]  # its length is a constant to the compiler
        grids = np.array(resolutions), lanes
        run(_forward, *_blocks(len(points)), *_arrays(points, table), *grids, out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        points, table = ctx.saved_tensors
        needs_points, needs_table, _ = ctx.needs_input_grad
        if torch.is_grad_enabled():  # this gradient will be differentiated: the reference knows how
            reference = op.hashgrid.reference  # type: ignore[attr-defined]
            out = reference(points, table, ctx.resolutions)
            inputs = [points] * needs_points + [table] * needs_table
            grads = iter(torch.autograd.grad(out, inputs, grad, create_graph=True))
            return next(grads) if needs_points else None, next(grads) if needs_table else None, None
        points_grad = table_grad = None
        grids = np.array(ctx.resolutions), (0,) * table.shape[2]
        if needs_table:
            table_grad = torch.empty_like(table, memory_format=torch.contiguous_format)
            run(_backward_table, len(table), *_arrays(points, grad), *grids, table_grad.numpy())
        if needs_points:
            points_grad = torch.zeros_like(points, memory_format=torch.contiguous_format)
            arrays = _arrays(points, table, grad)
            run(_backward_points, *_blocks(len(points)), *arrays, *grids, points_grad.numpy())
        return points_grad, table_grad, None


def _blocks(num_points: int) -> tuple[int, int]:
    """How many equal blocks, as many for each thread, and of how many points."""
    threads = torch.get_num_threads()
    count = threads * max(1, math.ceil(num_points / (threads * BLOCK)))
    return count, max(1, math.ceil(num_points / count))


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def hashgrid(
    points: Float[Tensor, "N 3"], table: Float[Tensor, "L T F"], resolutions: tuple[int, ...]
) -> Float[Tensor, "N LF"]:
    """See ops.hashgrid."""
    return _HashGrid.apply(points, table, resolutions)
