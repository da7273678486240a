"""interpolate on the CPU; ops/raster.py has the mathematics."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops.backends.numba.kernels import kernel, run, summed
from threestudio_like.ops.raster import Fragments

SLOTS = 4  # sums made apart and then added: a constant, so that gradients do not depend on the threads


@kernel
def _forward(task, step, slots, attributes, faces, face, barycentric, out):
    num_views, height, width = face.shape
    for t in range(task, slots, step):
        for row in range(num_views * height * t // slots, num_views * height * (t + 1) // slots):
            b, r = row // height, row % height
            values = attributes[b % len(attributes)]
            for c in range(width):
                f = face[b, r, c]
                if f < 0:
                    out[b, r, c] = 0
                    continue
                i, j, k = faces[f]
                u, v = barycentric[b, r, c]
                for channel in range(values.shape[1]):
                    p, q, o = values[i, channel], values[j, channel], values[k, channel]
                    out[b, r, c, channel] = u * p + v * q + (1 - u - v) * o


@kernel
def _backward(task, step, slots, attributes, faces, face, barycentric, gradient, total, weights_gradient):
    num_views, height, width = face.shape
    for t in range(task, slots, step):
        for row in range(num_views * height * t // slots, num_views * height * (t + 1) // slots):
            b, r = row // height, row % height
            values = attributes[b % len(attributes)]
            for c in range(width):
                f = face[b, r, c]
                du, dv = 0.0, 0.0
                if f >= 0:
                    i, j, k = faces[f]
                    u, v = barycentric[b, r, c]
                    for channel in range(values.shape[1]):
                        g = gradient[b, r, c, channel]
                        total[t, i, channel] += g * u
                        total[t, j, channel] += g * v
                        total[t, k, channel] += g * (1 - u - v)
                        du += g * (values[i, channel] - values[k, channel])
                        dv += g * (values[j, channel] - values[k, channel])
                weights_gradient[b, r, c, 0] = du
                weights_gradient[b, r, c, 1] = dv


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, attributes: Tensor, barycentric: Tensor, face: Tensor, faces: Tensor) -> Tensor:
        inputs = [tensor.contiguous() for tensor in (attributes, faces, face, barycentric)]
        out = attributes.new_empty(*face.shape, attributes.shape[-1])
        run(_forward, SLOTS, SLOTS, *[tensor.detach().numpy() for tensor in (*inputs, out)])
        ctx.save_for_backward(*inputs)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        attributes, faces, face, barycentric = ctx.saved_tensors
        slots = SLOTS if len(attributes) == 1 else len(attributes)
        total = torch.zeros(slots, *attributes.shape[1:], dtype=torch.float64)
        weights_gradient = torch.empty_like(barycentric)
        tensors = (*ctx.saved_tensors, gradients[0].contiguous(), total, weights_gradient)
        run(_backward, slots, slots, *[tensor.detach().numpy() for tensor in tensors])
        return summed(total, len(attributes)), weights_gradient, None, None


def interpolate(
    attributes: Float[Tensor, "V C"] | Float[Tensor, "B V C"], fragments: Fragments, faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "B H W C"]:
    """Attributes of the vertices at each pixel, 0 where nothing is; gradients to them and the weights."""
    batched = attributes[None] if attributes.ndim == 2 else attributes
    return _Interpolate.apply(batched, fragments.barycentric, fragments.face, faces)
