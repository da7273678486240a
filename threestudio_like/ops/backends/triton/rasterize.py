"""rasterize on CUDA: a depth buffer of whole numbers; ops/raster.py has the mathematics.

A triangle's box of pixels is cut into squares of 8 x 8, and squares of all triangles are shared out evenly. A
pixel's key is its depth, as a whole number that orders as it does, and below it the face: the least key is of
the nearest face, and of the first where several are as near, in whatever order atomics come.
"""

from typing import Any

import torch
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops.backends.triton.kernels import blocks, kernel, launch
from threestudio_like.ops.raster import Fragments

SIDE = tl.constexpr(8)
SQUARES = 8  # of a program: one for each warp, whose lanes share the triangle
FACES = 128
PIXELS = 256
MARGIN = tl.constexpr(1e-6)  # pixels: more than the rounding of a projected vertex
NOTHING = tl.constexpr((1 << 63) - 1)  # a key behind all others


@kernel
def vertex(positions, place, here):
    """x, y, z and w of vertices, in float64."""
    x = tl.load(positions + 4 * place, mask=here, other=0.0).to(tl.float64)
    y = tl.load(positions + 4 * place + 1, mask=here, other=0.0).to(tl.float64)
    z = tl.load(positions + 4 * place + 2, mask=here, other=0.0).to(tl.float64)
    return x, y, z, tl.load(positions + 4 * place + 3, mask=here, other=0.0).to(tl.float64)


@kernel
def line(px, py, pw, qx, qy, qw):
    """Coefficients of the edge function from p to q."""
    return py * qw - qy * pw, pw * qx - qw * px, px * qy - qx * py


@kernel
def centre(index, count):
    """Clip coordinate of the middle of a pixel."""
    return (2.0 * index.to(tl.float64) + 1.0) / tl.cast(count, tl.float64) - 1.0


@kernel
def _reach(low, high, x, w, size, some):
    """From `low` to `high` and a point's pixel, if there is one; everywhere if that is behind the camera."""
    pixel = (x / tl.where(w > 0, w, 1.0) + 1.0) * (0.5 * size) - 0.5
    least, most = tl.where(w > 0, pixel, float("-inf")), tl.where(w > 0, pixel, float("inf"))
    return tl.where(some, tl.minimum(low, least), low), tl.where(some, tl.maximum(high, most), high)


@kernel
def _ends(low, high, size):
    """First pixel of [low, high] in the picture, and how many; none where a bound is not a number."""
    some = (high + MARGIN >= 0) & (low - MARGIN <= size - 1)
    first = tl.ceil(tl.maximum(tl.where(some, low - MARGIN, 0.0), 0.0)).to(tl.int32)
    last = tl.floor(tl.minimum(tl.where(some, high + MARGIN, -1.0), size - 1.0)).to(tl.int32)
    return first, tl.maximum(last + 1 - first, 0)


@kernel
def _bound(positions, faces, boxes, counts, num_faces, num_vertices, total, height, width, N: tl.constexpr):
    """The box of what is left of each triangle behind the near plane, and how many squares it has."""
    k = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N)
    here = k < total
    first = k // num_faces * num_vertices
    left, right = tl.full([N], float("inf"), tl.float64), tl.full([N], float("-inf"), tl.float64)
    top, bottom = left, right
    for i in tl.static_range(3):
        p = first + tl.load(faces + 3 * (k % num_faces) + i, mask=here, other=0)
        q = first + tl.load(faces + 3 * (k % num_faces) + (i + 1) % 3, mask=here, other=0)
        px, py, pz, pw = vertex(positions, p, here)
        qx, qy, qz, qw = vertex(positions, q, here)
        p_in, q_in = pz + pw, qz + qw
        left, right = _reach(left, right, px, pw, width, p_in >= 0)
        top, bottom = _reach(top, bottom, py, pw, height, p_in >= 0)
        cut = (p_in >= 0) != (q_in >= 0)
        share = p_in / tl.where(cut, p_in - q_in, 1.0)
        x, y, w = px + (qx - px) * share, py + (qy - py) * share, pw + (qw - pw) * share
        left, right = _reach(left, right, x, w, width, cut)
        top, bottom = _reach(top, bottom, y, w, height, cut)
    column, columns = _ends(left, right, width)
    row, rows = _ends(top, bottom, height)
    across = (columns + SIDE - 1) // SIDE
    tl.store(boxes + 3 * k, column, mask=here)
    tl.store(boxes + 3 * k + 1, row, mask=here)
    tl.store(boxes + 3 * k + 2, tl.maximum(across, 1), mask=here)
    tl.store(counts + k, across * ((rows + SIDE - 1) // SIDE), mask=here)


@kernel
def _inside(e, a, b):
    """On the inner side of an edge, or on it where it is a top or left one."""
    return (e > 0) | ((e == 0) & ((a > 0) | ((a == 0) & (b > 0))))


@kernel
def _key(depth, face):
    """Orders as (depth, face)."""
    bits = tl.where(depth == 0, 0.0, depth).to(tl.int32, bitcast=True)  # one zero of the two
    return (tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(tl.int64) << 32) | face.to(tl.int64)


@kernel
def edges(positions, faces, first, face, here):
    """Coefficients of the edge functions of faces, positive inside; their det, and z of the corners."""
    x0, y0, z0, w0 = vertex(positions, first + tl.load(faces + 3 * face, mask=here, other=0), here)
    x1, y1, z1, w1 = vertex(positions, first + tl.load(faces + 3 * face + 1, mask=here, other=0), here)
    x2, y2, z2, w2 = vertex(positions, first + tl.load(faces + 3 * face + 2, mask=here, other=0), here)
    a0, b0, c0 = line(x1, y1, w1, x2, y2, w2)
    a1, b1, c1 = line(x2, y2, w2, x0, y0, w0)
    a2, b2, c2 = line(x0, y0, w0, x1, y1, w1)
    det = a0 * x0 + b0 * y0 + c0 * w0
    s = tl.where(det < 0, -1.0, 1.0)
    return a0 * s, b0 * s, c0 * s, a1 * s, b1 * s, c1 * s, a2 * s, b2 * s, c2 * s, det * s, z0, z1, z2


@kernel
def _fill(
    positions,
    faces,
    boxes,
    starts,
    owners,
    keys,
    num_faces,
    num_vertices,
    total,
    height,
    width,
    N: tl.constexpr,
):
    """Draw squares of triangles."""
    item = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N)
    here = item < total
    k = tl.load(owners + item, mask=here, other=0)
    view, face = k // num_faces, k % num_faces
    a0, b0, c0, a1, b1, c1, a2, b2, c2, det, z0, z1, z2 = edges(
        positions, faces, view * num_vertices, face, here
    )
    square = (item - tl.load(starts + k, mask=here, other=0)).to(tl.int32)
    across = tl.load(boxes + 3 * k + 2, mask=here, other=1)
    pixel = tl.arange(0, SIDE * SIDE)[None, :]
    column = (tl.load(boxes + 3 * k, mask=here, other=0) + square % across * SIDE)[:, None] + pixel % SIDE
    row = (tl.load(boxes + 3 * k + 1, mask=here, other=0) + square // across * SIDE)[:, None] + pixel // SIDE
    x, y = centre(column, width), centre(row, height)
    e0 = a0[:, None] * x + (b0[:, None] * y + c0[:, None])
    e1 = a1[:, None] * x + (b1[:, None] * y + c1[:, None])
    e2 = a2[:, None] * x + (b2[:, None] * y + c2[:, None])
    inside = _inside(e0, a0[:, None], b0[:, None]) & _inside(e1, a1[:, None], b1[:, None])
    inside = inside & _inside(e2, a2[:, None], b2[:, None]) & (here & (det > 0))[:, None]
    depth = (e0 * z0[:, None] + e1 * z1[:, None] + e2 * z2[:, None]) / tl.where(det > 0, det, 1.0)[:, None]
    drawn = inside & (tl.abs(depth) <= 1) & (column < width) & (row < height)
    place = (view[:, None] * height + row) * width + column
    tl.atomic_min(keys + place, _key(depth.to(tl.float32), face[:, None]), mask=drawn, sem="relaxed")


@kernel
def _weights(positions, faces, first, face, x, y, here):
    """Weights of corners 0 and 1 at pixels."""
    a0, b0, c0, a1, b1, c1, a2, b2, c2, det, z0, z1, z2 = edges(positions, faces, first, face, here)
    e0, e1, e2 = a0 * x + (b0 * y + c0), a1 * x + (b1 * y + c1), a2 * x + (b2 * y + c2)
    total = tl.where(here, e0 + e1 + e2, 1.0)
    return e0 / total, e1 / total


@kernel
def _read(
    positions, faces, keys, barycentric, depth, face, num_vertices, total, height, width, N: tl.constexpr
):
    """What each pixel shows, by its key."""
    n = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N)
    key = tl.load(keys + n, mask=n < total, other=NOTHING)
    here = key != NOTHING
    bits = (key >> 32).to(tl.int32)
    z = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(tl.float32, bitcast=True)
    shown = tl.where(here, key & 0x7FFFFFFF, -1)
    x, y = centre(n % width, width), centre(n // width % height, height)
    first = n // (height * width) * num_vertices
    u, v = _weights(positions, faces, first, shown, x, y, here)
    tl.store(barycentric + 2 * n, tl.where(here, u, 0.0).to(tl.float32), mask=n < total)
    tl.store(barycentric + 2 * n + 1, tl.where(here, v, 0.0).to(tl.float32), mask=n < total)
    tl.store(depth + n, tl.where(here, z, 0.0), mask=n < total)
    tl.store(face + n, shown, mask=n < total)


@kernel
def _cross(px, py, pw, x, y):
    """p x (x, y, 1)."""
    return py - pw * y, pw * x - px, px * y - py * x


@kernel
def add(out, place, x, y, w, here):
    """Add to gradients of vertices."""
    tl.atomic_add(out + 4 * place, x.to(tl.float32), mask=here, sem="relaxed")
    tl.atomic_add(out + 4 * place + 1, y.to(tl.float32), mask=here, sem="relaxed")
    tl.atomic_add(out + 4 * place + 3, w.to(tl.float32), mask=here, sem="relaxed")


@kernel
def _backward(
    positions, faces, face, barycentric, gradient, out, num_vertices, total, height, width, N: tl.constexpr
):
    """Add what each pixel's weights do to the corners of its face: e_0 = det(p_1, p_2, P), and so on."""
    n = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N)
    shown = tl.load(face + n, mask=n < total, other=-1)
    here = shown >= 0
    x, y = centre(n % width, width), centre(n // width % height, height)
    first = n // (height * width) * num_vertices
    i = first + tl.load(faces + 3 * shown, mask=here, other=0)
    j = first + tl.load(faces + 3 * shown + 1, mask=here, other=0)
    k = first + tl.load(faces + 3 * shown + 2, mask=here, other=0)
    x0, y0, z0, w0 = vertex(positions, i, here)
    x1, y1, z1, w1 = vertex(positions, j, here)
    x2, y2, z2, w2 = vertex(positions, k, here)
    p0, q0, r0 = _cross(x0, y0, w0, x, y)
    p1, q1, r1 = _cross(x1, y1, w1, x, y)
    p2, q2, r2 = _cross(x2, y2, w2, x, y)
    e0, e1, e2 = x1 * p2 + y1 * q2 + w1 * r2, x2 * p0 + y2 * q0 + w2 * r0, x0 * p1 + y0 * q1 + w0 * r1
    scale = 1.0 / tl.where(here, e0 + e1 + e2, 1.0)
    to_u = tl.load(gradient + 2 * n, mask=here, other=0.0).to(tl.float64)
    to_v = tl.load(gradient + 2 * n + 1, mask=here, other=0.0).to(tl.float64)
    u = tl.load(barycentric + 2 * n, mask=here, other=0.0).to(tl.float64)
    mean = to_u * u + to_v * tl.load(barycentric + 2 * n + 1, mask=here, other=0.0).to(tl.float64)
    g0, g1, g2 = (to_u - mean) * scale, (to_v - mean) * scale, -mean * scale
    add(out, i, g2 * p1 - g1 * p2, g2 * q1 - g1 * q2, g2 * r1 - g1 * r2, here)
    add(out, j, g0 * p2 - g2 * p0, g0 * q2 - g2 * q0, g0 * r2 - g2 * r0, here)
    add(out, k, g1 * p0 - g0 * p1, g1 * q0 - g0 * q1, g1 * r0 - g0 * r1, here)


def _drawn(positions: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """The key of each pixel."""
    device, sizes = positions.device, (len(faces), positions.shape[1])
    total = len(positions) * len(faces)
    boxes = torch.empty(total, 3, dtype=torch.int32, device=device)
    counts = torch.zeros(total, dtype=torch.int64, device=device)
    bounds = positions, faces, boxes, counts, *sizes, total, height, width
    launch(_bound, (blocks(total, FACES),), *bounds, fuse=False, N=FACES)
    stops = counts.cumsum(0)
    squares = int(stops[-1]) if total else 0
    owners = torch.repeat_interleave(torch.arange(total, device=device), counts, output_size=squares)
    keys = torch.full((len(positions), height, width), NOTHING.value, device=device)
    share: dict[str, Any] = {"N": SQUARES, "num_warps": SQUARES, "fuse": False}
    lists = positions, faces, boxes, stops - counts, owners, keys
    launch(_fill, (blocks(squares, SQUARES),), *lists, *sizes, squares, height, width, **share)
    return keys


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, positions: Tensor, faces: Tensor, height: int, width: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        positions, faces = positions.contiguous(), faces.contiguous()
        keys = _drawn(positions, faces, height, width)
        barycentric = positions.new_empty(*keys.shape, 2)
        depth, face = positions.new_empty(keys.shape), torch.empty_like(keys)
        tensors = positions, faces, keys, barycentric, depth, face
        sizes = positions.shape[1], keys.numel(), height, width
        launch(_read, (blocks(keys.numel(), PIXELS),), *tensors, *sizes, fuse=False, N=PIXELS)
        ctx.save_for_backward(positions, faces, face, barycentric)
        ctx.mark_non_differentiable(depth, face)
        return barycentric, depth, face

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        positions, faces, face, barycentric = ctx.saved_tensors
        out = torch.zeros_like(positions)
        tensors = positions, faces, face, barycentric, gradients[0].contiguous(), out
        sizes = positions.shape[1], face.numel(), face.shape[1], face.shape[2]
        launch(_backward, (blocks(face.numel(), PIXELS),), *tensors, *sizes, N=PIXELS)
        return out, None, None, None


def rasterize(
    positions: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], height: int, width: int
) -> Fragments:
    """See ops.raster."""
    barycentric, depth, face = _Rasterize.apply(positions, faces, height, width)
    return Fragments(barycentric, depth[..., None], face)
