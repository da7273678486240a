"""project on CUDA, Gaussian by Gaussian; ops/splat.py has the mathematics.

With A = V R diag(s), k = f / z and (u, v) the slopes as held, the rows of J A are k (A_0 - u A_2) and
k (A_1 - v A_2), and S holds their products. The conic K, its inverse, has dL / dS = -K (dL / dK) K. Kernels
go through A column by column: axis by axis of the Gaussian. Gradients are summed over the views in order.
"""

from typing import Any

import torch
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops import splat as op
from threestudio_like.ops.backends.triton.kernels import blocks, kernel, launch
from threestudio_like.ops.camera import focal, principal
from threestudio_like.records import Camera, Footprints

GAUSSIANS = 128  # of a program
N = tl.constexpr(GAUSSIANS)
LENS = tl.constexpr(19)  # numbers of a camera: V, its place, focal length, middle, low and high limits
CUTOFF = tl.constexpr(op.CUTOFF)
DILATION = tl.constexpr(op.DILATION)


@kernel
def _three(values, i, here):
    return (
        tl.load(values + 3 * i, mask=here, other=0.0),
        tl.load(values + 3 * i + 1, mask=here, other=0.0),
        tl.load(values + 3 * i + 2, mask=here, other=0.0),
    )


@kernel
def _store(values, i, x, y, z, here):
    tl.store(values + 3 * i, x, mask=here)
    tl.store(values + 3 * i + 1, y, mask=here)
    tl.store(values + 3 * i + 2, z, mask=here)


@kernel
def _store_four(values, i, w, x, y, z, divisor, here):
    tl.store(values + 4 * i, w / divisor, mask=here)
    tl.store(values + 4 * i + 1, x / divisor, mask=here)
    tl.store(values + 4 * i + 2, y / divisor, mask=here)
    tl.store(values + 4 * i + 3, z / divisor, mask=here)


@kernel
def _quaternion(quaternions, i, here):
    """w, x, y, z of length 1, and the length."""
    w = tl.load(quaternions + 4 * i, mask=here, other=1.0)
    x, y = tl.load(quaternions + 4 * i + 1, mask=here), tl.load(quaternions + 4 * i + 2, mask=here)
    z = tl.load(quaternions + 4 * i + 3, mask=here)
    x, y, z = tl.where(here, x, 0.0), tl.where(here, y, 0.0), tl.where(here, z, 0.0)
    length = tl.maximum(tl.sqrt(w * w + x * x + y * y + z * z), 1e-12)
    return w / length, x / length, y / length, z / length, length


@kernel
def _column(w, x, y, z, axis: tl.constexpr):
    """Of the rotation matrix."""
    if axis == 0:
        a, b, c = 1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)
    elif axis == 1:
        a, b, c = 2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)
    else:
        a, b, c = 2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)
    return a, b, c


@kernel
def _turned(lens, x, y, z):
    """V times a vector."""
    a = tl.load(lens) * x + tl.load(lens + 1) * y + tl.load(lens + 2) * z
    b = tl.load(lens + 3) * x + tl.load(lens + 4) * y + tl.load(lens + 5) * z
    return a, b, tl.load(lens + 6) * x + tl.load(lens + 7) * y + tl.load(lens + 8) * z


@kernel
def _turned_back(lens, x, y, z):
    """V transposed times a vector."""
    a = tl.load(lens) * x + tl.load(lens + 3) * y + tl.load(lens + 6) * z
    b = tl.load(lens + 1) * x + tl.load(lens + 4) * y + tl.load(lens + 7) * z
    return a, b, tl.load(lens + 2) * x + tl.load(lens + 5) * y + tl.load(lens + 8) * z


@kernel
def _look(lens, near, x, y, z):
    """A mean's depth, whether it is beyond `near`, its slopes, and these as held; at depth 1 if it is not."""
    a, b, depth = _turned(lens, x - tl.load(lens + 9), y - tl.load(lens + 10), z - tl.load(lens + 11))
    seen = depth > near
    a, b = a / tl.where(seen, depth, 1.0), b / tl.where(seen, depth, 1.0)
    u = tl.minimum(tl.maximum(a, tl.load(lens + 15)), tl.load(lens + 17))
    v = tl.minimum(tl.maximum(b, tl.load(lens + 16)), tl.load(lens + 18))
    return depth, seen, a, b, u, v


@kernel
def _axis(lens, w, x, y, z, scale, u, v, k, axis: tl.constexpr):
    """Column of the rows of J A, and its part along the view in A."""
    p, q, r = _column(w, x, y, z, axis)
    a, b, c = _turned(lens, p * scale, q * scale, r * scale)
    return k * (a - u * c), k * (b - v * c), c


@kernel
def _meets(center, deviation, size):
    """Whether something falls into the picture."""
    return (center + CUTOFF * deviation > 0) & (center - CUTOFF * deviation < size)


@kernel
def _forward(
    means,
    scales,
    quaternions,
    lenses,
    centers,
    conics,
    depths,
    spreads,
    count,
    near,
    height,
    width,
):
    i = tl.program_id(0) * N + tl.arange(0, N)
    here, lens = i < count, lenses + tl.program_id(1) * LENS
    out = tl.program_id(1).to(tl.int64) * count + i
    x, y, z = _three(means, i, here)
    depth, seen, a, b, u, v = _look(lens, near, x, y, z)
    s0, s1, s2 = _three(scales, i, here)
    w, x, y, z, length = _quaternion(quaternions, i, here)
    k = tl.load(lens + 12) / tl.where(seen, depth, 1.0)
    x0, y0, c0 = _axis(lens, w, x, y, z, s0, u, v, k, 0)
    x1, y1, c1 = _axis(lens, w, x, y, z, s1, u, v, k, 1)
    x2, y2, c2 = _axis(lens, w, x, y, z, s2, u, v, k, 2)
    xx, xy, yy = x0 * x0 + x1 * x1 + x2 * x2, x0 * y0 + x1 * y1 + x2 * y2, y0 * y0 + y1 * y1 + y2 * y2
    p, q, r = x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0
    det = p * p + q * q + r * r + DILATION * (xx + yy) + DILATION * DILATION
    _store(conics, out, (yy + DILATION) / det, -xy / det, (xx + DILATION) / det, here)
    column, row = tl.load(lens + 12) * a + tl.load(lens + 13), tl.load(lens + 12) * b + tl.load(lens + 14)
    across, down = tl.sqrt(xx + DILATION), tl.sqrt(yy + DILATION)
    seen = seen & _meets(column, across, width) & _meets(row, down, height)
    tl.store(centers + 2 * out, column, mask=here)
    tl.store(centers + 2 * out + 1, row, mask=here)
    tl.store(depths + out, depth, mask=here)
    tl.store(spreads + 2 * out, tl.where(seen, across, 0.0), mask=here)
    tl.store(spreads + 2 * out + 1, tl.where(seen, down, 0.0), mask=here)


@kernel
def _covariance_gradient(conics, gradient, i, here):
    """-K (dL / dK) K."""
    k0, k1, k2 = _three(conics, i, here)
    g0, g1, g2 = _three(gradient, i, here)
    g1 = 0.5 * g1
    a, b, c, d = k0 * g0 + k1 * g1, k0 * g1 + k1 * g2, k1 * g0 + k2 * g1, k1 * g1 + k2 * g2
    return -(a * k0 + b * k1), -(a * k1 + b * k2), -(c * k1 + d * k2)


@kernel
def _column_gradient(w, x, y, z, a, b, c, axis: tl.constexpr):
    """Gradient to the quaternion as if its length were free."""
    if axis == 0:
        dw, dx = z * b - y * c, y * b + z * c
        dy, dz = x * b - 2 * y * a - w * c, w * b - 2 * z * a + x * c
    elif axis == 1:
        dw, dx = x * c - z * a, y * a - 2 * x * b + w * c
        dy, dz = x * a + z * c, y * c - 2 * z * b - w * a
    else:
        dw, dx = y * a - x * b, z * a - 2 * x * c - w * b
        dy, dz = w * a - 2 * y * c + z * b, x * a + y * b
    return 2 * dw, 2 * dx, 2 * dy, 2 * dz


@kernel
def _axes_gradient(lens, w, x, y, z, scales, to_scales, u, v, k, xx, xy, yy, i, here):
    """What columns give to the held slopes, to log k, to the quaternion, and, in memory, to the scales."""
    none = tl.zeros([N], tl.float32)
    to_u, to_v, to_k, dw, dx, dy, dz = none, none, none, none, none, none, none
    for axis in tl.static_range(3):
        p, q, r = _column(w, x, y, z, axis)
        scale = tl.load(scales + 3 * i + axis, mask=here, other=0.0)
        row_x, row_y, c = _axis(lens, w, x, y, z, scale, u, v, k, axis)
        g_x, g_y = 2 * (xx * row_x + xy * row_y), 2 * (xy * row_x + yy * row_y)
        to_u, to_v, to_k = to_u - k * g_x * c, to_v - k * g_y * c, to_k + g_x * row_x + g_y * row_y
        g_p, g_q, g_r = _turned_back(lens, k * g_x, k * g_y, -k * (g_x * u + g_y * v))
        turned = _column_gradient(w, x, y, z, g_p * scale, g_q * scale, g_r * scale, axis)
        dw, dx, dy, dz = dw + turned[0], dx + turned[1], dy + turned[2], dz + turned[3]
        before = tl.load(to_scales + 3 * i + axis, mask=here, other=0.0)
        tl.store(to_scales + 3 * i + axis, before + g_p * p + g_q * q + g_r * r, mask=here)
    return to_u, to_v, to_k, dw, dx, dy, dz


@kernel
def _mean_gradient(lens, depth, seen, a, b, g_u, g_v, g_k, g_centers, g_depths, o, here):
    """From those to the held slopes and to log k, and from those of the center and the depth."""
    f, z = tl.load(lens + 12), tl.where(seen, depth, 1.0)
    free_u = (a >= tl.load(lens + 15)) & (a <= tl.load(lens + 17))
    free_v = (b >= tl.load(lens + 16)) & (b <= tl.load(lens + 18))
    g_a = f * tl.load(g_centers + 2 * o, mask=here, other=0.0) + tl.where(free_u, g_u, 0.0)
    g_b = f * tl.load(g_centers + 2 * o + 1, mask=here, other=0.0) + tl.where(free_v, g_v, 0.0)
    g_z = tl.load(g_depths + o, mask=here, other=0.0)
    g_z -= tl.where(seen, (g_k + g_a * a + g_b * b) / z, 0.0)
    return _turned_back(lens, g_a / z, g_b / z, g_z)


@kernel
def _backward(
    means,
    scales,
    quaternions,
    lenses,
    conics,
    g_centers,
    g_conics,
    g_depths,
    to_means,
    to_scales,
    to_quaternions,
    count,
    num_views,
    near,
):
    i = tl.program_id(0) * N + tl.arange(0, N)
    here = i < count
    mean_x, mean_y, mean_z = _three(means, i, here)
    w, x, y, z, length = _quaternion(quaternions, i, here)
    none = tl.zeros([N], tl.float32)
    to_x, to_y, to_z, to_w, to_i, to_j, to_k = none, none, none, none, none, none, none
    for view in range(num_views):
        lens, o = lenses + view * LENS, tl.cast(view, tl.int64) * count + i
        depth, seen, a, b, u, v = _look(lens, near, mean_x, mean_y, mean_z)
        k = tl.load(lens + 12) / tl.where(seen, depth, 1.0)
        xx, xy, yy = _covariance_gradient(conics, g_conics, o, here)
        g_u, g_v, g_k, dw, dx, dy, dz = _axes_gradient(
            lens, w, x, y, z, scales, to_scales, u, v, k, xx, xy, yy, i, here
        )
        to_w, to_i, to_j, to_k = to_w + dw, to_i + dx, to_j + dy, to_k + dz
        dx, dy, dz = _mean_gradient(lens, depth, seen, a, b, g_u, g_v, g_k, g_centers, g_depths, o, here)
        to_x, to_y, to_z = to_x + dx, to_y + dy, to_z + dz
    _store(to_means, i, to_x, to_y, to_z, here)
    along = w * to_w + x * to_i + y * to_j + z * to_k  # the quaternion, whose length does not matter
    to_w, to_i, to_j, to_k = to_w - w * along, to_i - x * along, to_j - y * along, to_k - z * along
    _store_four(to_quaternions, i, to_w, to_i, to_j, to_k, length, here)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, means: Tensor, scales: Tensor, quaternions: Tensor, lenses: Tensor, size: tuple, near: float
    ) -> tuple[Tensor, ...]:
        gaussians = [tensor.contiguous() for tensor in (means, scales, quaternions)]
        shape = len(lenses), len(means)
        centers, conics, spreads = (means.new_empty(*shape, channels) for channels in (2, 3, 2))
        prints = centers, conics, means.new_empty(shape), spreads
        grid = blocks(len(means), GAUSSIANS), len(lenses)
        launch(_forward, grid, *gaussians, lenses, *prints, len(means), near, *size)
        ctx.save_for_backward(*gaussians, lenses, conics)
        ctx.near = near
        ctx.mark_non_differentiable(spreads)
        return prints

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        means, lenses = ctx.saved_tensors[0], ctx.saved_tensors[3]
        grads = [torch.zeros_like(tensor) for tensor in ctx.saved_tensors[:3]]
        tensors = *ctx.saved_tensors, *(gradient.contiguous() for gradient in gradients[:3]), *grads
        grid = (blocks(len(means), GAUSSIANS),)
        launch(_backward, grid, *tensors, len(means), len(lenses), ctx.near)
        return *grads, None, None, None


@torch.no_grad()
def _lenses(camera: Camera) -> Tensor:
    """The numbers of each camera, in a row."""
    low, high = op.slope_limits(camera)
    turn, origin = op.into_camera(camera).flatten(1), camera.c2w[:, :3, 3]
    rows = [turn, origin, focal(camera)[:, None], principal(camera), low, high]
    return torch.cat(rows, dim=1).contiguous()


def project(
    means: Float[Tensor, "N 3"],
    scales: Float[Tensor, "N 3"],
    quaternions: Float[Tensor, "N 4"],
    camera: Camera,
    near: float,
) -> Footprints:
    """See ops.splat."""
    size = camera.height, camera.width
    return Footprints(*_Project.apply(means, scales, quaternions, _lenses(camera), size, float(near)))
