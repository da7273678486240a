"""rasterize on the CPU: bands of rows with a depth buffer each; ops/raster.py has the mathematics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops.backends.numba.kernels import exact, kernel, part, run, summed
from threestudio_like.ops.raster import Fragments

MARGIN = 1e-6  # pixels: more than the rounding of a projected vertex
TINY = np.finfo(np.float64).tiny  # rounding leaves nothing between 0 and this in an edge function
SLOTS = 4  # sums made apart and then added: a constant, so that gradients do not depend on the threads


@exact
def _project(positions, height, width):
    """Column and row of each vertex, pixel centres at whole numbers; NaN in front of the near plane."""
    screen = np.empty((len(positions), 2))
    for i in range(len(positions)):
        x, y, z, w = positions[i]
        if w > 0 and z >= -w:
            screen[i, 0] = (np.float64(x) / w + 1.0) * (0.5 * width) - 0.5
            screen[i, 1] = (np.float64(y) / w + 1.0) * (0.5 * height) - 0.5
        else:
            screen[i, 0] = np.nan
            screen[i, 1] = np.nan
    return screen


@exact
def _clipped_bounds(positions, corners, height, width):
    """Least and greatest column and row of what is left of a triangle behind the near plane."""
    left, right, top, bottom = np.inf, -np.inf, np.inf, -np.inf
    for i in range(3):
        p, q = positions[corners[i]].astype(np.float64), positions[corners[(i + 1) % 3]].astype(np.float64)
        p_in, q_in = p[2] + p[3], q[2] + q[3]
        for end in range(2):
            if end == 0 and p_in >= 0:
                point = p
            elif end == 1 and (p_in >= 0) != (q_in >= 0):
                point = p + (q - p) * (p_in / (p_in - q_in))
            else:
                continue
            if point[3] <= 0:
                return -np.inf, np.inf, -np.inf, np.inf
            x = (point[0] / point[3] + 1.0) * (0.5 * width) - 0.5
            y = (point[1] / point[3] + 1.0) * (0.5 * height) - 0.5
            left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
    return left - MARGIN, right + MARGIN, top - MARGIN, bottom + MARGIN


@exact
def _corner(positions, i):
    """A vertex as numbers in float64: a view of it would count references."""
    x, y, z, w = positions[i, 0], positions[i, 1], positions[i, 2], positions[i, 3]
    return np.float64(x), np.float64(y), np.float64(z), np.float64(w)


@exact
def _edge(p, q):
    """Coefficients of the edge function from p to q."""
    return p[1] * q[3] - p[3] * q[1], p[3] * q[0] - p[0] * q[3], p[0] * q[1] - p[1] * q[0]


@exact
def _least(a, b):
    """Least value of an edge function inside: 0 on top and left edges, which own their pixels, else above."""
    return 0.0 if a > 0 or (a == 0 and b > 0) else TINY


@exact
def _fill(p0, p1, p2, index, rows, columns, ys, xs, barycentric, depth, face):
    """Draw one triangle into the pixels of a box, where it is nearer than what is there."""
    a0, b0, c0 = _edge(p1, p2)
    a1, b1, c1 = _edge(p2, p0)
    a2, b2, c2 = _edge(p0, p1)
    det = a0 * p0[0] + b0 * p0[1] + c0 * p0[3]
    if det < 0:
        a0, b0, c0, a1, b1, c1, a2, b2, c2 = -a0, -b0, -c0, -a1, -b1, -c1, -a2, -b2, -c2
        det = -det
    if not det > 0:
        return
    least0, least1, least2 = _least(a0, b0), _least(a1, b1), _least(a2, b2)
    for r in range(rows[0], rows[1]):
        d0, d1, d2 = b0 * ys[r] + c0, b1 * ys[r] + c1, b2 * ys[r] + c2
        entered = False
        for c in range(columns[0], columns[1]):
            e0, e1, e2 = a0 * xs[c] + d0, a1 * xs[c] + d1, a2 * xs[c] + d2
            if (e0 >= least0) & (e1 >= least1) & (e2 >= least2):
                entered = True
                z = (e0 * p0[2] + e1 * p1[2] + e2 * p2[2]) / det
                if abs(z) <= 1 and np.float32(z) < depth[r, c]:
                    face[r, c] = index
                    depth[r, c] = np.float32(z)
                    scale = 1.0 / (e0 + e1 + e2)
                    barycentric[r, c, 0] = e0 * scale
                    barycentric[r, c, 1] = e1 * scale
            elif entered:
                break  # a row enters and leaves a triangle once


@exact
def _band(positions, faces, first, last, ys, xs, barycentric, depth, face):
    """Draw one view's rows [first, last)."""
    height, width = face.shape
    face[first:last] = -1
    depth[first:last] = np.inf
    barycentric[first:last] = 0
    screen = _project(positions, height, width)
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, x1, x2 = screen[i, 0], screen[j, 0], screen[k, 0]
        y0, y1, y2 = screen[i, 1], screen[j, 1], screen[k, 1]
        if math.isnan(x0 + x1 + x2 + y0 + y1 + y2):
            left, right, top, bottom = _clipped_bounds(positions, faces[f], height, width)
        else:
            top, bottom = min(y0, y1, y2) - MARGIN, max(y0, y1, y2) + MARGIN
            left, right = min(x0, x1, x2) - MARGIN, max(x0, x1, x2) + MARGIN
        if not (bottom >= first and top <= last - 1 and right >= 0 and left <= width - 1):  # or NaN
            continue
        # unsigned: a signed index might be counted from the end, which is asked at each pixel
        rows = np.uint64(math.ceil(max(top, first))), np.uint64(math.floor(min(bottom, last - 1)) + 1)
        columns = np.uint64(math.ceil(max(left, 0))), np.uint64(math.floor(min(right, width - 1)) + 1)
        if rows[0] < rows[1] and columns[0] < columns[1]:
            corners = _corner(positions, i), _corner(positions, j), _corner(positions, k)
            _fill(*corners, f, rows, columns, ys, xs, barycentric, depth, face)
    for r in range(first, last):
        for c in range(width):
            if face[r, c] < 0:
                depth[r, c] = 0


@kernel
def _forward(task, step, bands, positions, faces, barycentric, depth, face):
    num_views, height, width = face.shape
    ys, xs = (2.0 * np.arange(height) + 1.0) / height - 1.0, (2.0 * np.arange(width) + 1.0) / width - 1.0
    for t in range(task, num_views * bands, step):
        b, band = t // bands, t % bands
        first, last = height * band // bands, height * (band + 1) // bands
        _band(positions[b], faces, first, last, ys, xs, barycentric[b], depth[b], face[b])


@part
def _cross(p, x, y):
    """(x, y, w) of a corner cross (x, y, 1) of a pixel."""
    return p[1] - p[3] * y, p[3] * x - p[0], p[0] * y - p[1] * x


@part
def _dot(p, c):
    return p[0] * c[0] + p[1] * c[1] + p[3] * c[2]


@part
def _moved(total, g, c, h, d):
    """A corner's sum of (x, y, w), and g c - h d."""
    return total[0] + g * c[0] - h * d[0], total[1] + g * c[1] - h * d[1], total[2] + g * c[2] - h * d[2]


@part
def _pixel_gradient(gu, gv, u, v, x, y, p0, p1, p2, t0, t1, t2):
    """What one pixel's weights do to the corners of its triangle, added to the sums of three corners."""
    c0, c1, c2 = _cross(p0, x, y), _cross(p1, x, y), _cross(p2, x, y)
    scale = 1.0 / (_dot(p1, c2) + _dot(p2, c0) + _dot(p0, c1))  # e_0 + e_1 + e_2
    mean = gu * u + gv * v
    g0, g1, g2 = (gu - mean) * scale, (gv - mean) * scale, -mean * scale
    return _moved(t0, g2, c1, g1, c2), _moved(t1, g0, c2, g2, c0), _moved(t2, g1, c0, g0, c1)


@part
def _add(total, i, moved):
    total[i, 0] += moved[0]
    total[i, 1] += moved[1]
    total[i, 3] += moved[2]


@part
def _row_backward(positions, faces, face, barycentric, gradient, r, y, total):
    """Add one row's gradients; neighbouring pixels of a face are summed first."""
    width = face.shape[1]
    none = 0.0, 0.0, 0.0
    c = 0
    while c < width:
        f = face[r, c]
        if f < 0:
            c += 1
            continue
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        p0, p1, p2 = _corner(positions, i), _corner(positions, j), _corner(positions, k)
        t0, t1, t2 = none, none, none
        while c < width and face[r, c] == f:
            u, v = np.float64(barycentric[r, c, 0]), np.float64(barycentric[r, c, 1])
            gu, gv = np.float64(gradient[r, c, 0]), np.float64(gradient[r, c, 1])
            x = (2.0 * c + 1.0) / width - 1.0
            t0, t1, t2 = _pixel_gradient(gu, gv, u, v, x, y, p0, p1, p2, t0, t1, t2)
            c += 1
        _add(total, i, t0)
        _add(total, j, t1)
        _add(total, k, t2)


@kernel
def _backward(task, step, slots, positions, faces, face, barycentric, gradient, total):
    num_views, height, width = face.shape
    for t in range(task, slots, step):
        total[t] = 0
        for row in range(num_views * height * t // slots, num_views * height * (t + 1) // slots):
            b, r = row // height, row % height
            y = (2.0 * r + 1.0) / height - 1.0
            _row_backward(positions[b], faces, face[b], barycentric[b], gradient[b], r, y, total[t])


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, positions: Tensor, faces: Tensor, height: int, width: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        positions, faces = positions.contiguous(), faces.contiguous()
        barycentric = positions.new_empty(len(positions), height, width, 2)
        depth = positions.new_empty(len(positions), height, width)
        face = faces.new_empty(len(positions), height, width)
        bands = -(-torch.get_num_threads() // max(len(positions), 1))
        arrays = [tensor.detach().numpy() for tensor in (positions, faces, barycentric, depth, face)]
        run(_forward, len(positions) * bands, bands, *arrays)
        ctx.save_for_backward(positions, faces, face, barycentric)
        ctx.mark_non_differentiable(depth, face)
        ctx.set_materialize_grads(False)  # no pictures of zeros for depth and face
        return barycentric, depth, face

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if gradients[0] is None:
            return None, None, None, None
        positions, faces, face, barycentric = ctx.saved_tensors
        slots = SLOTS if len(positions) == 1 else len(positions)
        total = torch.empty(slots, *positions.shape[1:], dtype=torch.float64)
        tensors = (positions, faces, face, barycentric, gradients[0].contiguous(), total)
        run(_backward, slots, slots, *[tensor.detach().numpy() for tensor in tensors])
        return summed(total, len(positions)), None, None, None


def rasterize(
    positions: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], height: int, width: int
) -> Fragments:
    """The nearest face at each pixel's centre; gradients from the barycentric weights to the positions."""
    barycentric, depth, face = _Rasterize.apply(positions, faces, height, width)
    return Fragments(barycentric, depth[..., None], face)
