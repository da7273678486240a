"""project on the CPU, Gaussian by Gaussian; ops/splat.py has the mathematics.

With A = V R diag(s), k = f / z and (u, v) the slopes as held, the rows of J A are k (A_0 - u A_2) and
k (A_1 - v A_2), and S holds their products. The conic K, its inverse, has dL / dS = -K (dL / dK) K.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops import splat as op
from threestudio_like.ops.backends.numba.kernels import kernel, run
from threestudio_like.ops.camera import focal, principal
from threestudio_like.records import Camera, Footprints

CUTOFF, DILATION = op.CUTOFF, op.DILATION


class Lenses(NamedTuple):
    """The cameras in numbers, float64."""

    turn: np.ndarray  # [B 3 3], from the world
    origin: np.ndarray  # [B 3]
    focal: np.ndarray  # [B]
    middle: np.ndarray  # [B 2]
    low: np.ndarray  # [B 2]: limits of the slopes
    high: np.ndarray  # [B 2]


@kernel
def _rotation(quaternion, rotation):
    """The matrix of a quaternion of any length."""
    w, x, y, z = quaternion
    length = math.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w / length, x / length, y / length, z / length
    rotation[0, 0] = 1 - 2 * (y * y + z * z)
    rotation[0, 1] = 2 * (x * y - w * z)
    rotation[0, 2] = 2 * (x * z + w * y)
    rotation[1, 0] = 2 * (x * y + w * z)
    rotation[1, 1] = 1 - 2 * (x * x + z * z)
    rotation[1, 2] = 2 * (y * z - w * x)
    rotation[2, 0] = 2 * (x * z - w * y)
    rotation[2, 1] = 2 * (y * z + w * x)
    rotation[2, 2] = 1 - 2 * (x * x + y * y)


@kernel
def _unrotated(quaternion, g, out):
    """Add what a gradient to the matrix gives to its quaternion."""
    w, x, y, z = quaternion
    length = math.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w / length, x / length, y / length, z / length
    dw = 2 * (x * (g[2, 1] - g[1, 2]) + y * (g[0, 2] - g[2, 0]) + z * (g[1, 0] - g[0, 1]))
    dx = 2 * (y * (g[0, 1] + g[1, 0]) + z * (g[0, 2] + g[2, 0]) + w * (g[2, 1] - g[1, 2]))
    dx -= 4 * x * (g[1, 1] + g[2, 2])
    dy = 2 * (x * (g[0, 1] + g[1, 0]) + z * (g[1, 2] + g[2, 1]) + w * (g[0, 2] - g[2, 0]))
    dy -= 4 * y * (g[0, 0] + g[2, 2])
    dz = 2 * (x * (g[0, 2] + g[2, 0]) + y * (g[1, 2] + g[2, 1]) + w * (g[1, 0] - g[0, 1]))
    dz -= 4 * z * (g[0, 0] + g[1, 1])
    along = w * dw + x * dx + y * dy + z * dz
    out[0] += (dw - w * along) / length
    out[1] += (dx - x * along) / length
    out[2] += (dy - y * along) / length
    out[3] += (dz - z * along) / length


@kernel
def _look(b, lenses, near, mean, scale, rotation, local, axes, rows, held):
    """Fill in the mean and the axes as the camera has them, the rows of J A and the slopes; returns z.

    In front of `near` z counts as 1.
    """
    turn, origin = lenses.turn[b], lenses.origin[b]
    for r in range(3):
        local[r] = 0
        for c in range(3):
            local[r] += turn[r, c] * (mean[c] - origin[c])
            axes[r, c] = 0
            for m in range(3):
                axes[r, c] += turn[r, m] * rotation[m, c] * scale[c]
    z = local[2] if local[2] > near else 1.0
    for r in range(2):
        held[r] = min(max(local[r] / z, lenses.low[b, r]), lenses.high[b, r])
        for c in range(3):
            rows[r, c] = lenses.focal[b] / z * (axes[r, c] - held[r] * axes[2, c])
    return z


@kernel
def _covariance(rows):
    """(xx, xy, yy) before dilation, and the determinant after, as a sum of squares."""
    x, y = rows
    xx, xy, yy = (
        x[0] ** 2 + x[1] ** 2 + x[2] ** 2,
        x[0] * y[0] + x[1] * y[1] + x[2] * y[2],
        y[0] ** 2 + y[1] ** 2 + y[2] ** 2,
    )
    square = (
        (x[1] * y[2] - x[2] * y[1]) ** 2 + (x[2] * y[0] - x[0] * y[2]) ** 2 + (x[0] * y[1] - x[1] * y[0]) ** 2
    )
    return xx, xy, yy, square + DILATION * (xx + yy) + DILATION**2


@kernel
def _forward(task, step, lenses, near, size, means, scales, quaternions, centers, conics, depths, spreads):
    num_views, count = depths.shape
    rotation, axes, rows = np.empty((3, 3)), np.empty((3, 3)), np.empty((2, 3))
    local, held = np.empty(3), np.empty(2)
    for i in range(task, count, step):
        _rotation(quaternions[i].astype(np.float64), rotation)
        for b in range(num_views):
            z = _look(b, lenses, near, means[i], scales[i], rotation, local, axes, rows, held)
            xx, xy, yy, determinant = _covariance(rows)
            conics[b, i, 0] = (yy + DILATION) / determinant
            conics[b, i, 1] = -xy / determinant
            conics[b, i, 2] = (xx + DILATION) / determinant
            depths[b, i] = local[2]
            spreads[b, i, 0], spreads[b, i, 1] = math.sqrt(xx + DILATION), math.sqrt(yy + DILATION)
            seen = local[2] > near
            for r in range(2):
                centers[b, i, r] = lenses.focal[b] * local[r] / z + lenses.middle[b, r]
                reach = CUTOFF * spreads[b, i, r]
                seen = seen and centers[b, i, r] + reach > 0 and centers[b, i, r] - reach < size[r]
            if not seen:
                spreads[b, i] = 0


@kernel
def _rows_gradient(rows, conic, g, out):
    """dL / d(rows of J A) from that of the conic."""
    k0, k1, k2 = np.float64(conic[0]), np.float64(conic[1]), np.float64(conic[2])
    g0, g1, g2 = np.float64(g[0]), 0.5 * g[1], np.float64(g[2])
    a, b = k0 * g0 + k1 * g1, k0 * g1 + k1 * g2
    c, d = k1 * g0 + k2 * g1, k1 * g1 + k2 * g2
    xx, xy, yy = -(a * k0 + b * k1), -(a * k1 + b * k2), -(c * k1 + d * k2)
    for i in range(3):
        out[0, i] = 2 * (xx * rows[0, i] + xy * rows[1, i])
        out[1, i] = 2 * (xy * rows[0, i] + yy * rows[1, i])


@kernel
def _unlook(b, lenses, near, local, axes, rows, held, g_rows, g_center, g_local, g_axes):
    """Add to `g_local`, and fill in `g_axes`, from the gradients to the rows of J A and to the center."""
    seen = local[2] > near
    z = local[2] if seen else 1.0
    k = lenses.focal[b] / z
    g_axes[2] = 0
    for r in range(2):
        slope = local[r] / z
        g_slope = lenses.focal[b] * g_center[r]
        free = lenses.low[b, r] <= slope <= lenses.high[b, r]
        for c in range(3):
            g_axes[r, c] = k * g_rows[r, c]
            g_axes[2, c] -= k * g_rows[r, c] * held[r]
            if free:
                g_slope -= k * g_rows[r, c] * axes[2, c]
            if seen:
                g_local[2] -= g_rows[r, c] * rows[r, c] / z
        g_local[r] += g_slope / z
        if seen:
            g_local[2] -= g_slope * slope / z


@kernel
def _backward(task, step, lenses, near, gaussians, conics, g_centers, g_conics, g_depths, grads):
    (means, scales, quaternions), (g_means, g_scales, g_quaternions) = gaussians, grads
    num_views, count = g_depths.shape
    rotation, axes, rows = np.empty((3, 3)), np.empty((3, 3)), np.empty((2, 3))
    local, held, g_local = np.empty(3), np.empty(2), np.empty(3)
    g_rows, g_axes, g_rotation = np.empty((2, 3)), np.empty((3, 3)), np.empty((3, 3))
    for i in range(task, count, step):
        quaternion = quaternions[i].astype(np.float64)
        _rotation(quaternion, rotation)
        g_means[i], g_scales[i], g_quaternions[i], g_rotation[:] = 0, 0, 0, 0
        for b in range(num_views):
            _look(b, lenses, near, means[i], scales[i], rotation, local, axes, rows, held)
            _rows_gradient(rows, conics[b, i], g_conics[b, i], g_rows)
            g_local[0], g_local[1], g_local[2] = 0, 0, g_depths[b, i]
            _unlook(b, lenses, near, local, axes, rows, held, g_rows, g_centers[b, i], g_local, g_axes)
            for m in range(3):
                for r in range(3):
                    g_means[i, m] += lenses.turn[b, r, m] * g_local[r]
                for c in range(3):
                    g = 0.0
                    for r in range(3):
                        g += lenses.turn[b, r, m] * g_axes[r, c]
                    g_scales[i, c] += g * rotation[m, c]
                    g_rotation[m, c] += g * scales[i, c]
        _unrotated(quaternion, g_rotation, g_quaternions[i])


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, means: Tensor, scales: Tensor, quaternions: Tensor, lenses: Lenses, size: tuple, near: float
    ) -> tuple[Tensor, ...]:
        shape = len(lenses.focal), len(means)
        prints = [means.new_empty(*shape, channels) for channels in (2, 3, 1, 2)]
        prints[2] = prints[2][..., 0]
        gaussians = _arrays(means, scales, quaternions)
        run(_forward, torch.get_num_threads(), lenses, near, size, *gaussians, *_arrays(*prints))
        ctx.save_for_backward(means, scales, quaternions, prints[1])
        ctx.lenses, ctx.near = lenses, near
        ctx.mark_non_differentiable(prints[3])
        return tuple(prints)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *gaussians, conics = ctx.saved_tensors
        grads = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in gaussians]
        run(
            _backward,
            torch.get_num_threads(),
            ctx.lenses,
            ctx.near,
            tuple(_arrays(*gaussians)),
            *_arrays(conics, *gradients[:3]),
            tuple(_arrays(*grads)),
        )
        return *grads, None, None, None


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def project(
    means: Float[Tensor, "N 3"],
    scales: Float[Tensor, "N 3"],
    quaternions: Float[Tensor, "N 4"],
    camera: Camera,
    near: float,
) -> Footprints:
    """See ops.splat."""
    numbers = (
        *(op.into_camera(camera), camera.c2w[:, :3, 3], focal(camera), principal(camera)),
        *op.slope_limits(camera),
    )
    lenses = Lenses(*_arrays(*(tensor.double() for tensor in numbers)))
    size = (float(camera.width), float(camera.height))
    return Footprints(*_Project.apply(means, scales, quaternions, lenses, size, float(near)))
