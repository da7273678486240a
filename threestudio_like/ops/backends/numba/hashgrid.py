"""hashgrid on the CPU, all levels in one pass; ops/hashgrid.py has the mathematics.

A chunk of points at a time is located in a level's grid, many at once by vector instructions, and then
gathered from it or scattered to it one by one. Blocks of points are the tasks, save for the table's gradient:
there whole levels are, so that no two threads write one row and every sum has one order. The gradient to the
points needs what the forward pass reads: that one keeps the features' derivatives by the place in the cell.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from threestudio_like.ops import hashgrid as op
from threestudio_like.ops.backends.numba.kernels import empty, kernel, lent, part, run

# points that go through a level before the next: enough to pay for bringing its table into cache
BLOCK = 65536
CHUNK = np.uint64(256)  # points located at once; their corners stay in the nearest cache
PRIME_Y = np.uint32(op.PRIMES[1])
PRIME_Z = np.uint32(op.PRIMES[2])
ZERO = np.float32(0)
ONE = np.float32(1)
BIT = np.uint32(1)
EIGHT = np.uint64(8)


@part
def _room():
    """Cells, places in them, and the eight corners' rows of a chunk of points."""
    return np.empty((3, CHUNK), np.uint32), np.empty((3, CHUNK), np.float32), np.empty((8, CHUNK), np.uint32)


@part
def _locate(points, first, count, resolution, size, width, room):
    """Fill the room for points[:, first:first + count] and a table of `size` numbers, `width` a row.

    Corners are numbered x fastest. A NaN is in cell 0 and stays in the place. Indices are unsigned, which
    spares the check for negative ones.
    """
    cells, places, rows = room
    for axis in range(3):
        for j in range(count):
            scaled = points[axis, first + j] * np.float32(resolution)
            cell = min(max(np.int32(scaled), np.int32(0)), np.int32(resolution - 1))
            cells[axis, j] = np.uint32(cell)
            places[axis, j] = scaled - np.float32(cell)
    side, mask, scale = np.uint32(resolution + 1), np.uint32(size // width - 1), np.uint32(width)
    dense = (resolution + 1) ** 3 * width <= size
    for k in range(EIGHT):
        dx, dy, dz = np.uint32(k) & BIT, np.uint32(k) >> BIT & BIT, np.uint32(k) >> BIT >> BIT
        if dense:
            offset = dx + side * (dy + side * dz)
            for j in range(count):
                rows[k, j] = (cells[0, j] + side * (cells[1, j] + side * cells[2, j]) + offset) * scale
        else:
            for j in range(count):
                hashed = cells[0, j] + dx ^ (cells[1, j] + dy) * PRIME_Y ^ (cells[2, j] + dz) * PRIME_Z
                rows[k, j] = (hashed & mask) * scale


@part
def _corners(room, j):
    """Where the rows of the eight corners begin, the place in the cell, the weights of its edges along x."""
    _, places, rows = room
    wide = np.uint64
    near = wide(rows[0, j]), wide(rows[1, j]), wide(rows[2, j]), wide(rows[3, j])
    far = wide(rows[4, j]), wide(rows[5, j]), wide(rows[6, j]), wide(rows[7, j])
    u, v, w = places[0, j], places[1, j], places[2, j]
    edges = (ONE - v) * (ONE - w), v * (ONE - w), (ONE - v) * w, v * w
    return near, far, (u, v, w), edges


@part
def _gather(room, first, count, rows, out, column, slopes, sloped, lanes):
    """One level's features of a located chunk, and, where asked for, their derivatives by the place."""
    for j in range(count):
        (r0, r1, r2, r3), (r4, r5, r6, r7), (u, v, w), (a, b, c, d) = _corners(room, j)
        for lane in range(len(lanes)):
            f = np.uint64(lane)
            p0, p2, p4, p6 = rows[r0 + f], rows[r2 + f], rows[r4 + f], rows[r6 + f]
            d0, d2, d4, d6 = rows[r1 + f] - p0, rows[r3 + f] - p2, rows[r5 + f] - p4, rows[r7 + f] - p6
            p0, p2, p4, p6 = p0 + u * d0, p2 + u * d2, p4 + u * d4, p6 + u * d6
            low, high = p0 + v * (p2 - p0), p4 + v * (p6 - p4)
            out[first + j, column + f] = low + w * (high - low)
            if sloped:
                slopes[first + j, f, 0] = a * d0 + b * d2 + c * d4 + d * d6
                slopes[first + j, f, 1] = (p2 - p0) + w * ((p6 - p4) - (p2 - p0))
                slopes[first + j, f, 2] = high - low


@kernel
def _forward(task, step, block, points, table, resolutions, lanes, out, slopes):
    room = _room()
    for start in range(task * block, points.shape[1], step * block):
        end = min(start + block, points.shape[1])
        for level in range(len(table)):
            rows, column = table[level], np.uint64(level * len(lanes))
            for chunk in range(start, end, CHUNK):
                first, count = np.uint64(chunk), min(CHUNK, np.uint64(end - chunk))
                _locate(points, first, count, resolutions[level], len(rows), len(lanes), room)
                if len(slopes) > 0:
                    _gather(room, first, count, rows, out, column, slopes[level], True, lanes)
                else:
                    _gather(room, first, count, rows, out, column, slopes, False, lanes)


@part
def _scatter(room, first, count, grad, column, lanes, rows_grad):
    """Adds what a located chunk gives to one level's rows."""
    for j in range(count):
        (r0, r1, r2, r3), (r4, r5, r6, r7), (u, _, _), (a, b, c, d) = _corners(room, j)
        for lane in range(len(lanes)):
            f = np.uint64(lane)
            high = u * grad[first + j, column + f]
            low = grad[first + j, column + f] - high
            rows_grad[r0 + f] += a * low
            rows_grad[r1 + f] += a * high
            rows_grad[r2 + f] += b * low
            rows_grad[r3 + f] += b * high
            rows_grad[r4 + f] += c * low
            rows_grad[r5 + f] += c * high
            rows_grad[r6 + f] += d * low
            rows_grad[r7 + f] += d * high


@kernel
def _backward_table(task, step, points, grad, resolutions, lanes, table_grad):
    room = _room()
    for level in range(task, len(table_grad), step):
        table_grad[level] = ZERO
    for start in range(0, points.shape[1], BLOCK):
        end = min(start + BLOCK, points.shape[1])
        for level in range(task, len(table_grad), step):
            rows, column = table_grad[level], np.uint64(level * len(lanes))
            for chunk in range(start, end, CHUNK):
                first, count = np.uint64(chunk), min(CHUNK, np.uint64(end - chunk))
                _locate(points, first, count, resolutions[level], len(rows), len(lanes), room)
                _scatter(room, first, count, grad, column, lanes, rows)


@part
def _slide(first, last, scale, grad, column, slopes, lanes, points_grad):
    """Adds one level's share of the gradient to points[first:last]."""
    for i in range(first, last):
        x = y = z = ZERO
        for lane in range(len(lanes)):
            f = np.uint64(lane)
            g = grad[i, column + f]
            x, y, z = x + g * slopes[i, f, 0], y + g * slopes[i, f, 1], z + g * slopes[i, f, 2]
        points_grad[i, 0] += scale * x
        points_grad[i, 1] += scale * y
        points_grad[i, 2] += scale * z


@kernel
def _backward_points(task, step, block, points, grad, slopes, resolutions, lanes, points_grad):
    for start in range(task * block, len(points), step * block):
        first, last = np.uint64(start), np.uint64(min(start + block, len(points)))
        points_grad[first:last] = ZERO
        for level in range(len(slopes)):
            scale, column = np.float32(resolutions[level]), np.uint64(level * len(lanes))
            _slide(first, last, scale, grad, column, slopes[level], lanes, points_grad)
        for i in range(first, last):
            for k in range(3):
                if points[i, k] < ZERO or points[i, k] > ONE:  # clamped
                    points_grad[i, k] = ZERO


class _HashGrid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, resolutions: tuple[int, ...]) -> Tensor:
        num_levels, _, width = table.shape
        coordinates = points.detach().clamp(0, 1).T.contiguous()
        out = empty(len(points), num_levels * width)
        # nothing where no gradient to the points will be asked for
        shape = (num_levels, len(points), width, 3)
        slopes = lent(*shape) if ctx.needs_input_grad[0] else np.empty((0, *shape[1:]), np.float32)
        tables, grids = _flat(table), (np.array(resolutions), _lanes(table))
        run(_forward, *_blocks(len(points)), coordinates.numpy(), tables, *grids, out.numpy(), slopes)
        ctx.save_for_backward(points, table, coordinates)
        ctx.slopes, ctx.resolutions = slopes, resolutions
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        points, table, coordinates = ctx.saved_tensors
        needs_points, needs_table, _ = ctx.needs_input_grad
        if torch.is_grad_enabled():  # this gradient will be differentiated: the reference knows how
            reference = op.hashgrid.reference  # type: ignore[attr-defined]
            out = reference(points, table, ctx.resolutions)
            inputs = [points] * needs_points + [table] * needs_table
            grads = iter(torch.autograd.grad(out, inputs, gradients[0], create_graph=True))
            return next(grads) if needs_points else None, next(grads) if needs_table else None, None
        points_grad = table_grad = None
        grad, grids = gradients[0].detach().contiguous().numpy(), (np.array(ctx.resolutions), _lanes(table))
        if needs_table:
            table_grad = empty(*table.shape)
            run(_backward_table, len(table), coordinates.numpy(), grad, *grids, _flat(table_grad))
        if needs_points:
            points_grad = empty(*points.shape)
            arrays = points.detach().contiguous().numpy(), grad, ctx.slopes
            blocks = -(-len(points) // int(CHUNK)), int(CHUNK)
            run(_backward_points, *blocks, *arrays, *grids, points_grad.numpy())
        return points_grad, table_grad, None


def _blocks(num_points: int) -> tuple[int, int]:
    """How many equal blocks, as many for each thread, and of how many points."""
    threads = torch.get_num_threads()
    count = threads * max(1, math.ceil(num_points / (threads * BLOCK)))
    return count, max(1, math.ceil(num_points / count))


def _flat(table: Tensor) -> np.ndarray:
    """Each level's rows one after another: an index then needs no multiplication."""
    return table.detach().contiguous().numpy().reshape(len(table), -1)


def _lanes(table: Tensor) -> tuple[int, ...]:
    """One 0 for each feature of a row: its length is a constant to the compiler."""
    return (0,) * table.shape[2]


def hashgrid(
    points: Float[Tensor, "N 3"], table: Float[Tensor, "L T F"], resolutions: tuple[int, ...]
) -> Float[Tensor, "N LF"]:
    """See ops.hashgrid."""
    return _HashGrid.apply(points, table, resolutions)
