"""antialias on the CPU: outlines are found row by row and kept in a list; ops/raster.py has the formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops.backends.numba.kernels import copied, exact, kernel, run, summed
from threestudio_like.ops.raster import MAX_FACES, Fragments

TASKS = 16  # bands of rows: enough to keep threads equally busy


@kernel
def _neighbours(faces):
    """As ops.mesh.neighbours, by a table of the sides met so far; sides are numbered 3 face + corner."""
    num_sides = faces.size
    size = 1
    while size < num_sides:
        size *= 2
    newest, older = np.full(size, -1, np.int64), np.empty(num_sides, np.int64)
    key, mate = np.empty((num_sides, 2), np.int64), np.full(num_sides, -1, np.int64)
    for side in range(num_sides):
        face, corner = side // 3, side % 3
        a, b = faces[face, (corner + 1) % 3], faces[face, (corner + 2) % 3]
        low, high = min(a, b), max(a, b)
        slot = (low * 0x9E3779B1 + high * 0x85EBCA77) & (size - 1)
        met = newest[slot]
        while met >= 0 and (key[met, 0] != low or key[met, 1] != high):
            met = older[met]
        if met < 0:
            key[side, 0], key[side, 1] = low, high
            older[side], newest[slot] = newest[slot], side
        elif mate[met] == -1:
            mate[met], mate[side] = side, met
        else:  # a third face: none has one opposite
            if mate[met] >= 0:
                mate[mate[met]] = -2
            mate[met], mate[side] = -2, -2
    return np.maximum(mate, -1).reshape(faces.shape)


@exact
def _vertex(positions, i):
    """(x, y, w) in float64, as numbers: a view would count references."""
    return np.float64(positions[i, 0]), np.float64(positions[i, 1]), np.float64(positions[i, 3])


@exact
def _side(positions, faces, face, i):
    """Both ends of a face's side i, which is across from corner i."""
    return (
        _vertex(positions, faces[face, (i + 1) % 3]),
        _vertex(positions, faces[face, (i + 2) % 3]),
    )


@exact
def _volume(p, q, o):
    """det of (x, y, w) of three vertices."""
    return (
        (p[1] * q[2] - q[1] * p[2]) * o[0]
        + (p[2] * q[0] - q[2] * p[0]) * o[1]
        + (p[0] * q[1] - q[0] * p[1]) * o[2]
    )


@exact
def _distance(p, q, x, y, axis, pixels):
    """How far from a pixel's centre the line through it leaves a face by a side; -1 if it does not."""
    px, py, qx, qy = p[0] - x * p[2], p[1] - y * p[2], q[0] - x * q[2], q[1] - y * q[2]
    if axis == 1:
        px, py, qx, qy = py, px, qy, qx
    if (py < 0) == (qy < 0):
        return -1.0
    scale = py * q[2] - qy * p[2]
    return (py * qx - qy * px) / scale * pixels if scale * (py - qy) > 0 else -1.0


@exact
def _leave(positions, faces, face, entry, x, y, axis, pixels):
    """Side by which the line from a pixel's centre leaves a face, -1 if it does not; and how far."""
    side, distance = -1, -1.0
    for i in range(3):
        if i != entry:
            p, q = _side(positions, faces, face, i)
            d = _distance(p, q, x, y, axis, pixels)
            if distance < d <= 1:
                side, distance = i, d
    return side if distance >= 0 else -1, distance


@exact
def _ends(positions, faces, face, side, mate):
    """Whether a side is a silhouette edge: the face beyond it is on the same side of it, or there is none."""
    if mate < 0:
        return True
    p, q = _side(positions, faces, face, side)
    own, other = faces[face, side], faces[mate // 3, mate % 3]
    return _volume(p, q, _vertex(positions, own)) * _volume(p, q, _vertex(positions, other)) >= 0


@exact
def _inner(positions, faces, mates, face, end, x, y, axis, pixels):
    """Whether the line from a pixel's centre crosses over to the neighbouring face `end`, as most do."""
    for i in range(3):
        mate = mates[face, i]
        if 3 * end <= mate < 3 * end + 3:  # never of no face: 3 end is -3, and mate at least -1
            p, q = _side(positions, faces, face, i)
            distance = _distance(p, q, x, y, axis, pixels)
            if 0 <= distance <= 1 and not _ends(positions, faces, face, i, mate):
                return True
    return False


@kernel
def _outline(positions, faces, mates, max_faces, face, end, x, y, axis, pixels, size):
    """Corner across from the silhouette edge that ends a surface, as 3 face + corner, or -1; and how far."""
    entry = -1
    for _ in range(max_faces):
        side, distance = _leave(positions, faces, face, entry, x, y, axis, pixels)
        if side < 0:
            return -1, distance
        mate = mates[face, side]
        if _ends(positions, faces, face, side, mate):
            p, q = _side(positions, faces, face, side)
            upright = abs(p[1] * q[2] - q[1] * p[2]) * size[0] >= abs(p[2] * q[0] - q[2] * p[0]) * size[1]
            return 3 * face + side if upright == (axis == 0) else -1, distance
        face, entry = mate // 3, mate % 3
        if face == end:
            return -1, distance
    return -1, 0.0


@exact
def _row(positions, faces, mates, max_faces, face, depth, r, found, distances):
    """Find outlines between the pixels of one row, and between them and those below; how many."""
    height, width = face.shape
    count = 0
    for c in range(width):
        for axis in range(2):
            r2, c2 = r + axis, c + 1 - axis
            if r2 == height or c2 == width or face[r, c] == face[r2, c2]:
                continue
            swap = face[r, c] < 0 or (face[r2, c2] >= 0 and depth[r2, c2] < depth[r, c])
            r1, c1 = (r2, c2) if swap else (r, c)
            near, far = face[r1, c1], face[r + r2 - r1, c + c2 - c1]
            x, y = (2.0 * c1 + 1.0) / width - 1.0, (2.0 * r1 + 1.0) / height - 1.0
            pixels = 0.5 * (width if axis == 0 else height) * (-1 if swap else 1)
            if _inner(positions, faces, mates, near, far, x, y, axis, pixels):
                continue
            side, distance = _outline(
                positions, faces, mates, max_faces, near, far, x, y, axis, pixels, face.shape
            )
            if side >= 0:
                shown, corner = side // 3, side % 3
                found[count, 0], found[count, 1] = r1 * width + c1, (r + r2 - r1) * width + c + c2 - c1
                found[count, 2], found[count, 3] = (
                    faces[shown, (corner + 1) % 3],
                    faces[shown, (corner + 2) % 3],
                )
                distances[count] = distance
                count += 1
    return count


@kernel
def _find(task, step, tasks, positions, faces, mates, max_faces, face, depth, found, distances, counts):
    rows = counts.size
    height = counts.shape[1]
    for t in range(task, tasks, step):
        for row in range(rows * t // tasks, rows * (t + 1) // tasks):
            b, r = row // height, row % height
            counts[b, r] = _row(
                positions[b], faces, mates, max_faces, face[b], depth[b], r, found[b, r], distances[b, r]
            )


@kernel
def _gather(found, distances, counts):
    """One list of what the rows found: view, near and far pixel, both ends of the edge; and the distances."""
    outlines, lengths = np.empty((counts.sum(), 5), np.int64), np.empty(counts.sum())
    k = 0
    for b in range(counts.shape[0]):
        for r in range(counts.shape[1]):
            for i in range(counts[b, r]):
                outlines[k, 0] = b
                outlines[k, 1:] = found[b, r, i]
                lengths[k] = distances[b, r, i]
                k += 1
    return outlines, lengths


@kernel
def _blend(image, outlines, distances, out):
    """`image` and `out` are B, pixels, C."""
    for k in range(len(outlines)):
        b, near, far, _, _ = outlines[k]
        to, source = (near, far) if distances[k] < 0.5 else (far, near)
        share = np.float32(abs(distances[k] - 0.5))
        for channel in range(image.shape[2]):
            out[b, to, channel] += share * (image[b, source, channel] - image[b, to, channel])


@kernel
def _edge_gradient(p, q, x, y, axis, gradient, p_total, q_total):
    """Add to the totals what `gradient`, of the offset along the axis from (x, y), does to the ends."""
    other = 1 - axis
    here, beside = (x, y) if axis == 0 else (y, x)
    pw, qw = np.float64(p[3]), np.float64(q[3])
    a, b, u, v = p[axis] - here * pw, q[axis] - here * qw, p[other] - beside * pw, q[other] - beside * qw
    scale = u * qw - v * pw
    offset = (u * b - v * a) / scale
    g = gradient / scale
    # offset = (u b - v a) / (u qw - v pw)
    du, dv = g * (b - offset * qw), g * (offset * pw - a)
    p_total[axis] -= g * v
    q_total[axis] += g * u
    p_total[other] += du
    q_total[other] += dv
    p_total[3] += g * v * here - du * beside + g * offset * v
    q_total[3] += -g * u * here - dv * beside - g * offset * u


@kernel
def _backward(image, outlines, distances, positions, gradient, width, image_gradient, total):
    height = image.shape[1] // width
    for k in range(len(outlines)):
        b, near, far, i, j = outlines[k]
        to, source = (near, far) if distances[k] < 0.5 else (far, near)
        share = np.float32(abs(distances[k] - 0.5))
        change = 0.0
        for channel in range(image.shape[2]):
            g = gradient[b, to, channel]
            image_gradient[b, to, channel] -= share * g
            image_gradient[b, source, channel] += share * g
            change += np.float64(g) * (image[b, near, channel] - image[b, far, channel])
        axis = 0 if near // width == far // width else 1
        pixels = 0.5 * (width if axis == 0 else height) * (1 if far > near else -1)
        x, y = (2.0 * (near % width) + 1.0) / width - 1.0, (2.0 * (near // width) + 1.0) / height - 1.0
        p, q = positions[b, i], positions[b, j]
        _edge_gradient(p, q, x, y, axis, change * pixels, total[b, i], total[b, j])


class _Antialias(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, image: Tensor, face: Tensor, depth: Tensor, positions: Tensor, faces: Tensor
    ) -> Tensor:
        num_views, height, width, channels = image.shape
        image, positions = image.contiguous(), positions.contiguous()
        tensors = (positions, faces.contiguous(), face.contiguous(), depth.contiguous())
        points, corners, ids, depths = (tensor.detach().numpy() for tensor in tensors)
        # torch's memory and not numpy's, which comes in large pages: most of it is never written, nor taken
        room = (num_views, height, 2 * width)
        found = torch.empty(*room, 4, dtype=torch.int32).numpy()
        lengths = torch.empty(room, dtype=torch.float64).numpy()
        counts = np.empty((num_views, height), np.int64)
        surface = (points, corners, _neighbours(corners), MAX_FACES)
        run(_find, TASKS, TASKS, *surface, ids, depths, found, lengths, counts)
        outlines, distances = _gather(found, lengths, counts)
        out = copied(image)
        pixels = (num_views, height * width, channels)
        _blend(image.detach().view(pixels).numpy(), outlines, distances, out.view(pixels).numpy())
        ctx.save_for_backward(image, positions, torch.from_numpy(outlines), torch.from_numpy(distances))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        image, positions, outlines, distances = ctx.saved_tensors
        num_views, height, width, channels = image.shape
        pixels = (num_views, height * width, channels)
        gradient = gradients[0].contiguous()
        image_gradient, total = copied(gradient), torch.zeros(positions.shape, dtype=torch.float64)
        colours, given, taken = (v.detach().view(pixels).numpy() for v in (image, gradient, image_gradient))
        lists = (outlines.numpy(), distances.numpy(), positions.detach().numpy())
        _backward(colours, *lists, given, width, taken, total.numpy())
        return image_gradient, None, None, summed(total, num_views), None


def antialias(
    image: Float[Tensor, "B H W C"],
    fragments: Fragments,
    positions: Float[Tensor, "B V 4"],
    faces: Int[Tensor, "F 3"],
) -> Float[Tensor, "B H W C"]:
    """Blend neighbouring pixels by where a silhouette edge passes between them."""
    return _Antialias.apply(image, fragments.face, fragments.depth[..., 0], positions, faces)
