"""screen_derivatives and attribute_derivatives on the CPU; ops/raster.py has the mathematics."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops.backends.numba.kernels import kernel, part, run, summed
from threestudio_like.ops.raster import Fragments

SLOTS = 4  # sums made apart and then added: a constant, so that gradients do not depend on the threads


@part
def _corner(position):
    """(x, y, w)."""
    return np.float64(position[0]), np.float64(position[1]), np.float64(position[3])


@part
def _cross(p, q):
    return p[1] * q[2] - q[1] * p[2], p[2] * q[0] - q[2] * p[0], p[0] * q[1] - p[1] * q[0]


@part
def _edges(p0, p1, p2, x, y):
    """Coefficients of the edge functions 0 and 1 and of the sum E of all three; E, u and v at (x, y)."""
    one, two, last = _cross(p1, p2), _cross(p2, p0), _cross(p0, p1)
    total = one[0] + two[0] + last[0], one[1] + two[1] + last[1], one[2] + two[2] + last[2]
    value = total[0] * x + total[1] * y + total[2]
    u = (one[0] * x + one[1] * y + one[2]) / value
    v = (two[0] * x + two[1] * y + two[2]) / value
    return one, two, total, value, u, v


@part
def _slopes(p0, p1, p2, x, y, dx, dy, out):
    """Derivatives of the weights at (x, y), by steps of (dx, dy)."""
    one, two, total, value, u, v = _edges(p0, p1, p2, x, y)
    out[0], out[1] = (one[0] - u * total[0]) / value * dx, (one[1] - u * total[1]) / value * dy
    out[2], out[3] = (two[0] - v * total[0]) / value * dx, (two[1] - v * total[1]) / value * dy


@part
def _weight_gradient(p, q, own, total, value, u, x, y):
    """What gradients p and q (over E) of one weight's slopes do to its edge function; and to A, B, and E.

    The slopes are (a - u A) / E and (b - u B) / E, and u = e / E.
    """
    e = -(p * total[0] + q * total[1]) / value
    slopes = p * (own[0] - u * total[0]) + q * (own[1] - u * total[1])
    return (p + e * x, q + e * y, e), -p * u, -q * u, -slopes / value - e * u


@part
def _add(total, c, d):
    for i in range(2):
        total[i] += c[i] + d[i]
    total[3] += c[2] + d[2]


@part
def _slopes_backward(p0, p1, p2, x, y, dx, dy, gradient, g0, g1, g2):
    """Add to the corners' sums what one pixel's derivatives do to them."""
    one, two, total, value, u, v = _edges(p0, p1, p2, x, y)
    ux, uy, vx, vy = gradient[0] * dx, gradient[1] * dy, gradient[2] * dx, gradient[3] * dy
    h0, a0, b0, e0 = _weight_gradient(ux / value, uy / value, one, total, value, u, x, y)
    h1, a1, b1, e1 = _weight_gradient(vx / value, vy / value, two, total, value, v, x, y)
    e = e0 + e1
    h2 = a0 + a1 + e * x, b0 + b1 + e * y, e  # what all three edge functions have in common
    h0, h1 = (h0[0] + h2[0], h0[1] + h2[1], h0[2] + h2[2]), (h1[0] + h2[0], h1[1] + h2[1], h1[2] + h2[2])
    _add(g0, _cross(h1, p2), _cross(p1, h2))
    _add(g1, _cross(h2, p0), _cross(p2, h0))
    _add(g2, _cross(h0, p1), _cross(p0, h1))


@kernel
def _screen(task, step, slots, positions, faces, face, out):
    num_views, height, width = face.shape
    dx, dy = 2.0 / width, 2.0 / height
    for t in range(task, slots, step):
        for row in range(num_views * height * t // slots, num_views * height * (t + 1) // slots):
            b, r = row // height, row % height
            y = (r + 0.5) * dy - 1.0
            for c in range(width):
                out[b, r, c] = 0
                if face[b, r, c] >= 0:
                    i, j, k = faces[face[b, r, c]]
                    p0, p1, p2 = _corner(positions[b, i]), _corner(positions[b, j]), _corner(positions[b, k])
                    _slopes(p0, p1, p2, (c + 0.5) * dx - 1.0, y, dx, dy, out[b, r, c])


@kernel
def _screen_backward(task, step, slots, positions, faces, face, gradient, total):
    num_views, height, width = face.shape
    dx, dy = 2.0 / width, 2.0 / height
    for t in range(task, slots, step):
        for row in range(num_views * height * t // slots, num_views * height * (t + 1) // slots):
            b, r = row // height, row % height
            y = (r + 0.5) * dy - 1.0
            for c in range(width):
                if face[b, r, c] >= 0:
                    i, j, k = faces[face[b, r, c]]
                    p0, p1, p2 = _corner(positions[b, i]), _corner(positions[b, j]), _corner(positions[b, k])
                    pixel = (c + 0.5) * dx - 1.0, y, dx, dy, gradient[b, r, c]
                    _slopes_backward(p0, p1, p2, *pixel, total[t, i], total[t, j], total[t, k])


@kernel
def _attribute(task, step, slots, attributes, faces, face, derivatives, out):
    num_views, height, width = face.shape
    for t in range(task, slots, step):
        for row in range(num_views * height * t // slots, num_views * height * (t + 1) // slots):
            b, r = row // height, row % height
            values = attributes[b % len(attributes)]
            for c in range(width):
                f = face[b, r, c]
                for channel in range(values.shape[1] if f >= 0 else 0):
                    last = values[faces[f, 2], channel]
                    p, q = values[faces[f, 0], channel] - last, values[faces[f, 1], channel] - last
                    for axis in range(2):
                        slope = p * derivatives[b, r, c, axis] + q * derivatives[b, r, c, 2 + axis]
                        out[b, r, c, channel, axis] = slope
                if f < 0:
                    out[b, r, c] = 0


@kernel
def _attribute_backward(task, step, slots, attributes, faces, face, derivatives, gradient, total, out):
    num_views, height, width = face.shape
    for t in range(task, slots, step):
        for row in range(num_views * height * t // slots, num_views * height * (t + 1) // slots):
            b, r = row // height, row % height
            values = attributes[b % len(attributes)]
            for c in range(width):
                f = face[b, r, c]
                out[b, r, c] = 0
                for channel in range(values.shape[1] if f >= 0 else 0):
                    last = values[faces[f, 2], channel]
                    p, q = values[faces[f, 0], channel] - last, values[faces[f, 1], channel] - last
                    for axis in range(2):
                        g = gradient[b, r, c, channel, axis]
                        du, dv = g * derivatives[b, r, c, axis], g * derivatives[b, r, c, 2 + axis]
                        total[t, faces[f, 0], channel] += du
                        total[t, faces[f, 1], channel] += dv
                        total[t, faces[f, 2], channel] -= du + dv
                        out[b, r, c, axis] += g * p
                        out[b, r, c, 2 + axis] += g * q


class _Screen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions: Tensor, faces: Tensor, face: Tensor) -> Tensor:
        inputs = [tensor.contiguous() for tensor in (positions, faces, face)]
        out = positions.new_empty(*face.shape, 4)
        run(_screen, SLOTS, SLOTS, *[tensor.detach().numpy() for tensor in (*inputs, out)])
        ctx.save_for_backward(*inputs)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        positions, _, _ = ctx.saved_tensors
        slots = SLOTS if len(positions) == 1 else len(positions)
        total = torch.zeros(slots, *positions.shape[1:], dtype=torch.float64)
        tensors = (*ctx.saved_tensors, gradients[0].contiguous(), total)
        run(_screen_backward, slots, slots, *[tensor.detach().numpy() for tensor in tensors])
        return summed(total, len(positions)), None, None


class _Attribute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, attributes: Tensor, derivatives: Tensor, face: Tensor, faces: Tensor) -> Tensor:
        inputs = [tensor.contiguous() for tensor in (attributes, faces, face, derivatives)]
        out = attributes.new_empty(*face.shape, attributes.shape[-1], 2)
        run(_attribute, SLOTS, SLOTS, *[tensor.detach().numpy() for tensor in (*inputs, out)])
        ctx.save_for_backward(*inputs)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        attributes, _, _, derivatives = ctx.saved_tensors
        slots = SLOTS if len(attributes) == 1 else len(attributes)
        total = torch.zeros(slots, *attributes.shape[1:], dtype=torch.float64)
        out = torch.empty_like(derivatives)
        tensors = (*ctx.saved_tensors, gradients[0].contiguous(), total, out)
        run(_attribute_backward, slots, slots, *[tensor.detach().numpy() for tensor in tensors])
        return summed(total, len(attributes)), out, None, None


def screen_derivatives(
    positions: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], fragments: Fragments
) -> Float[Tensor, "B H W 4"]:
    """See ops.raster."""
    return _Screen.apply(positions, faces, fragments.face)


def attribute_derivatives(
    attributes: Float[Tensor, "V C"] | Float[Tensor, "B V C"],
    derivatives: Float[Tensor, "B H W 4"],
    fragments: Fragments,
    faces: Int[Tensor, "F 3"],
) -> Float[Tensor, "B H W C 2"]:
    """See ops.raster."""
    batched = attributes[None] if attributes.ndim == 2 else attributes
    return _Attribute.apply(batched, derivatives, fragments.face, faces)
