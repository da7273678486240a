"""antialias on CUDA: outlines between neighbouring pixels, then what they blend; see ops/raster.py.

Border n of axis 0 is between pixel n and the one to its right, of axis 1 the one below. A pixel gathers from
its four borders, so pictures and their gradients are the same to the bit in every run; positions' are not.
"""

from typing import Any

import torch
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops.backends.triton.kernels import blocks, kernel, launch, power_of_two
from threestudio_like.ops.backends.triton.rasterize import add, centre, line, vertex
from threestudio_like.ops.mesh import neighbours
from threestudio_like.ops.raster import MAX_FACES, Fragments

PIXELS = 128


@kernel
def _offsets(px, py, pw, qx, qy, qw, x, y, axis):
    """Both ends of an edge from a pixel's centre, along the axis and beside it."""
    px, py, qx, qy = px - x * pw, py - y * pw, qx - x * qw, qy - y * qw
    upright = axis == 0
    a, b = tl.where(upright, px, py), tl.where(upright, qx, qy)
    return a, b, tl.where(upright, py, px), tl.where(upright, qy, qx)


@kernel
def _leave(positions, faces, first, face, entry, x, y, axis, pixels, here):
    """Side by which the line from a pixel's centre leaves a face, -1 if it does not; and how far."""
    side, distance = tl.full(face.shape, -1, tl.int64), tl.full(face.shape, -1.0, tl.float64)
    for i in tl.static_range(3):
        p = first + tl.load(faces + 3 * face + (i + 1) % 3, mask=here, other=0)
        q = first + tl.load(faces + 3 * face + (i + 2) % 3, mask=here, other=0)
        px, py, pz, pw = vertex(positions, p, here)
        qx, qy, qz, qw = vertex(positions, q, here)
        a, b, u, v = _offsets(px, py, pw, qx, qy, qw, x, y, axis)
        scale = u * qw - v * pw
        crossed = ((u < 0) != (v < 0)) & (scale * (u - v) > 0)
        d = (u * b - v * a) / tl.where(crossed, scale, 1.0) * pixels
        farther = crossed & (entry != i) & (d <= 1) & (d > distance)
        side, distance = tl.where(farther, i, side), tl.where(farther, d, distance)
    return tl.where(distance >= 0, side, -1), distance


@kernel
def _volume(a, b, c, x, y, w):
    return a * x + b * y + c * w


@kernel
def _judge(positions, faces, mates, first, face, side, axis, height, width, here):
    """Across a side: the corner beyond it (-1: none), whether it is an outline, and this axis's to blend."""
    p = first + tl.load(faces + 3 * face + (side + 1) % 3, mask=here, other=0)
    q = first + tl.load(faces + 3 * face + (side + 2) % 3, mask=here, other=0)
    own = first + tl.load(faces + 3 * face + side, mask=here, other=0)
    mate = tl.load(mates + 3 * face + side, mask=here, other=-1)
    beyond = tl.where(mate < 0, own, first + tl.load(faces + mate, mask=here & (mate >= 0), other=0))
    px, py, pz, pw = vertex(positions, p, here)
    qx, qy, qz, qw = vertex(positions, q, here)
    a, b, c = line(px, py, pw, qx, qy, qw)
    x, y, z, w = vertex(positions, own, here)
    volume = _volume(a, b, c, x, y, w)
    x, y, z, w = vertex(positions, beyond, here)
    outline = volume * _volume(a, b, c, x, y, w) >= 0
    upright = tl.abs(a) * height >= tl.abs(b) * width
    return mate, outline, upright == (axis == 0)


@kernel
def _border(face, depth, n, axis, height, width, total):
    """The pixels of a border, near and far, whether the near one is the second, and if they differ at all."""
    column, row = n % width, n // width % height
    there = (n < total) & tl.where(axis == 0, column + 1 < width, row + 1 < height)
    m = n + tl.where(axis == 0, 1, width)
    one, two = tl.load(face + n, mask=there, other=-1), tl.load(face + m, mask=there, other=-1)
    nearer = tl.load(depth + m, mask=there, other=0.0) < tl.load(depth + n, mask=there, other=0.0)
    swap = (one < 0) | ((two >= 0) & nearer)
    return tl.where(swap, m, n), tl.where(swap, n, m), swap, there & (one != two)


@kernel
def _ray(near, swap, axis, height, width):
    """Clip coordinates of a near pixel's centre; pixels towards the far one in one unit of them."""
    x, y = centre(near % width, width), centre(near // width % height, height)
    return x, y, 0.5 * tl.where(axis == 0, width, height) * tl.where(swap, -1.0, 1.0)


@kernel
def _find(
    positions,
    faces,
    mates,
    face,
    depth,
    found,
    distances,
    num_vertices,
    total,
    height,
    width,
    max_faces,
    N: tl.constexpr,
):
    """The outline at each border: 2 (3 face + corner across from it), and 1 if the near pixel is second."""
    axis = tl.program_id(1)
    n = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N)
    near, far, swap, active = _border(face, depth, n, axis, height, width, total)
    shown, end = tl.load(face + near, mask=active, other=0), tl.load(face + far, mask=active, other=0)
    x, y, pixels = _ray(near, swap, axis, height, width)
    first = n // (height * width) * num_vertices
    entry, code = tl.full([N], -1, tl.int64), tl.full([N], -1, tl.int64)
    distance = tl.zeros([N], tl.float64)
    steps = 0
    while (tl.max(active.to(tl.int32), axis=0) > 0) & (steps < max_faces):
        side, d = _leave(positions, faces, first, shown, entry, x, y, axis, pixels, active)
        active = active & (side >= 0)
        mate, outline, ours = _judge(positions, faces, mates, first, shown, side, axis, height, width, active)
        kept = active & outline & ours
        code = tl.where(kept, 2 * (3 * shown + side) + swap.to(tl.int64), code)
        distance = tl.where(kept, d, distance)
        active = active & ~outline & (mate // 3 != end)
        shown, entry = tl.where(active, mate // 3, shown), tl.where(active, mate % 3, entry)
        steps += 1
    tl.store(found + axis * total + n, code, mask=n < total)
    tl.store(distances + axis * total + n, distance.to(tl.float32), mask=n < total)


@kernel
def _taken(values, found, distances, border, n, other, second, c, here, BACK: tl.constexpr, C: tl.constexpr):
    """What a border adds to its first (or second) pixel, which it blends or with which it blends the other.

    BACK: it hands back a gradient instead.
    """
    code = tl.load(found + border, mask=here, other=-1)
    distance = tl.load(distances + border, mask=here, other=0.5)
    share = tl.where(code >= 0, tl.abs(distance - 0.5), 0.0)[:, None]
    blended = (((code % 2 == 1) == second) == (distance < 0.5))[:, None]
    there = (here & (code >= 0))[:, None] & (c < C)[None, :]
    own = tl.load(values + n[:, None] * C + c[None, :], mask=there, other=0.0)
    others = tl.load(values + other[:, None] * C + c[None, :], mask=there, other=0.0)
    if BACK:
        taken = tl.where(blended, -share * own, share * others)
    else:
        taken = tl.where(blended, share * (others - own), 0.0)
    return taken


@kernel
def _gather(
    values,
    found,
    distances,
    out,
    total,
    height,
    width,
    BACK: tl.constexpr,
    C: tl.constexpr,
    LANES: tl.constexpr,
    N: tl.constexpr,
):
    """Each pixel and what its borders add."""
    n, c = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N), tl.arange(0, LANES)
    here = n < total
    both, place = here[:, None] & (c < C)[None, :], n[:, None] * C + c[None, :]
    result = tl.load(values + place, mask=both, other=0.0)
    for axis in tl.static_range(2):
        step = width if axis else 1
        result += _taken(values, found, distances, axis * total + n, n, n + step, False, c, here, BACK, C)
        inner = here & (n // width % height > 0 if axis else n % width > 0)
        border = axis * total + n - step
        result += _taken(values, found, distances, border, n, n - step, True, c, inner, BACK, C)
    tl.store(out + place, result, mask=both)


@kernel
def _end(g, offset, along, beside, w, other_along, other_beside, other_w, x, y, axis):
    """Gradient to (x, y, w) of an end of an edge; as the second one, where `g` is that of the offset / scale.

    offset = (u b - v a) / scale, scale = u qw - v pw, with (a, u) and (b, v) the ends along and beside.
    """
    to_along = g * other_beside
    to_beside = g * (offset * other_w - other_along)
    here, there = tl.where(axis == 0, x, y), tl.where(axis == 0, y, x)
    to_w = -to_along * here - to_beside * there - g * offset * other_beside
    upright = axis == 0
    return tl.where(upright, to_along, to_beside), tl.where(upright, to_beside, to_along), to_w


@kernel
def _move(
    image,
    gradient,
    found,
    positions,
    faces,
    out,
    num_vertices,
    total,
    height,
    width,
    C: tl.constexpr,
    LANES: tl.constexpr,
    N: tl.constexpr,
):
    """Add what each border's blending does to the ends of its outline."""
    axis = tl.program_id(1)
    n, c = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N), tl.arange(0, LANES)
    code = tl.load(found + axis * total + n, mask=n < total, other=-1).to(tl.int64)
    here = code >= 0
    side, swap, first = code // 2 % 3, code % 2 == 1, n // (height * width) * num_vertices
    p = first + tl.load(faces + code // 6 * 3 + (side + 1) % 3, mask=here, other=0)
    q = first + tl.load(faces + code // 6 * 3 + (side + 2) % 3, mask=here, other=0)
    m = n + tl.where(axis == 0, 1, width)
    near, far = tl.where(swap, m, n), tl.where(swap, n, m)
    x, y, pixels = _ray(near, swap, axis, height, width)
    px, py, pz, pw = vertex(positions, p, here)
    qx, qy, qz, qw = vertex(positions, q, here)
    a, b, u, v = _offsets(px, py, pw, qx, qy, qw, x, y, axis)
    scale = tl.where(here, u * qw - v * pw, 1.0)
    offset = (u * b - v * a) / scale
    to, both = tl.where(offset * pixels < 0.5, near, far), here[:, None] & (c < C)[None, :]
    g = tl.load(gradient + to[:, None] * C + c[None, :], mask=both, other=0.0)
    change = tl.load(image + near[:, None] * C + c[None, :], mask=both, other=0.0)
    change -= tl.load(image + far[:, None] * C + c[None, :], mask=both, other=0.0)
    slope = tl.sum(g * change, axis=1).to(tl.float64) * pixels / scale
    x_p, y_p, w_p = _end(-slope, offset, a, u, pw, b, v, qw, x, y, axis)
    add(out, p, x_p, y_p, w_p, here)
    x_q, y_q, w_q = _end(slope, offset, b, v, qw, a, u, pw, x, y, axis)
    add(out, q, x_q, y_q, w_q, here)


class _Antialias(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, image: Tensor, face: Tensor, depth: Tensor, positions: Tensor, faces: Tensor
    ) -> Tensor:
        image, positions, faces = image.contiguous(), positions.contiguous(), faces.contiguous()
        found = torch.empty(2, face.numel(), dtype=torch.int32, device=image.device)
        distances, out = image.new_empty(2, face.numel()), torch.empty_like(image)
        tensors = positions, faces, neighbours(faces), face.contiguous(), depth.contiguous(), found, distances
        ctx.sizes = face.numel(), face.shape[1], face.shape[2]
        ctx.lanes = {"C": image.shape[-1], "LANES": power_of_two(image.shape[-1]), "N": PIXELS}
        borders = blocks(face.numel(), PIXELS), 2
        numbers = positions.shape[1], *ctx.sizes, MAX_FACES
        launch(_find, borders, *tensors, *numbers, fuse=False, N=PIXELS)
        launch(_gather, borders[:1], image, found, distances, out, *ctx.sizes, BACK=False, **ctx.lanes)
        ctx.save_for_backward(image, found, distances, positions, faces)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        image, found, distances, positions, faces = ctx.saved_tensors
        given = gradients[0].contiguous()
        to_image, to_positions = torch.empty_like(image), torch.zeros_like(positions)
        borders = blocks(found.shape[1], PIXELS), 2
        launch(_gather, borders[:1], given, found, distances, to_image, *ctx.sizes, BACK=True, **ctx.lanes)
        tensors = image, given, found, positions, faces, to_positions
        launch(_move, borders, *tensors, positions.shape[1], *ctx.sizes, **ctx.lanes)
        return to_image, None, None, to_positions, None


def antialias(
    image: Float[Tensor, "B H W C"],
    fragments: Fragments,
    positions: Float[Tensor, "B V 4"],
    faces: Int[Tensor, "F 3"],
) -> Float[Tensor, "B H W C"]:
    """See ops.raster."""
    return _Antialias.apply(image, fragments.face, fragments.depth[..., 0], positions, faces)
