"""sample on the CPU; ops/texture.py has the mathematics. All levels lie in one list, finest first."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops.backends.numba.kernels import kernel, run
from threestudio_like.ops.texture import TINY, check_boundary, pyramid

SLOTS = 2  # sums made apart and then added: a constant, so that gradients do not depend on the threads


@kernel
def _inside(index, count, wrap):
    return index % count if wrap else min(max(index, 0), count - 1)


@kernel
def _corners(u, v, start, height, width, wrap):
    """Rows in the list of the four texels around a point, and how far right and below the first it is."""
    x, y = u * width - 0.5, (1 - v) * height - 0.5
    column, row = math.floor(x), math.floor(y)
    left, right = _inside(column, width, wrap), _inside(column + 1, width, wrap)
    above = start + width * _inside(row, height, wrap)
    below = start + width * _inside(row + 1, height, wrap)
    return (
        above + left,
        above + right,
        below + left,
        below + right,
        np.float32(x - column),
        np.float32(y - row),
    )


@kernel
def _level(jacobian, n, height, width, last):
    """Finer level, share of the coarser one, and the level's derivatives to J^T J's entries a, b, c."""
    ux, uy = jacobian[n, 0, 0] * width, jacobian[n, 0, 1] * width
    vx, vy = jacobian[n, 1, 0] * height, jacobian[n, 1, 1] * height
    a, b, c = ux * ux + vx * vx, uy * uy + vy * vy, ux * uy + vx * vy
    squared = ((a - b) / 2) ** 2 + c * c
    root = math.sqrt(max(squared, TINY))
    largest = (a + b) / 2 + root
    level = math.log2(largest) / 2 if largest > 1 else 0.0
    if level <= 0 or level >= last or level == math.floor(level):
        return int(min(max(level, 0.0), last)), 0.0, 0.0, 0.0, 0.0
    slope = 1 / (2 * math.log(2.0) * largest)
    split, along = ((a - b) / (4 * root), c / root) if squared > TINY else (0.0, 0.0)
    return int(level), level - math.floor(level), slope * (0.5 + split), slope * (0.5 - split), slope * along


@kernel
def _forward(task, step, slots, texels, sizes, uv, jacobian, wrap, out):
    for t in range(task, slots, step):
        for n in range(len(uv) * t // slots, len(uv) * (t + 1) // slots):
            level, coarser = 0, 0.0
            if len(jacobian):
                level, coarser, _, _, _ = _level(jacobian, n, sizes[0, 1], sizes[0, 2], len(sizes) - 1)
            out[n] = 0
            for share in (1 - coarser, coarser):
                if share > 0:
                    i, j, k, m, right, below = _corners(
                        uv[n, 0], uv[n, 1], sizes[level, 0], sizes[level, 1], sizes[level, 2], wrap
                    )
                    for c in range(texels.shape[1]):
                        upper = texels[i, c] + right * (texels[j, c] - texels[i, c])
                        lower = texels[k, c] + right * (texels[m, c] - texels[k, c])
                        out[n, c] += share * (upper + below * (lower - upper))
                level += 1


@kernel
def _backward(task, step, slots, texels, sizes, uv, jacobian, wrap, gradient, total, to_uv, to_jacobian):
    height, width = sizes[0, 1], sizes[0, 2]
    for t in range(task, slots, step):
        for n in range(len(uv) * t // slots, len(uv) * (t + 1) // slots):
            level, coarser, da, db, dc = 0, 0.0, 0.0, 0.0, 0.0
            if len(jacobian):
                level, coarser, da, db, dc = _level(jacobian, n, height, width, len(sizes) - 1)
            to_uv[n] = 0
            to_level = 0.0
            for sign, share in ((-1, 1 - coarser), (1, coarser)):
                if share > 0:
                    i, j, k, m, right, below = _corners(
                        uv[n, 0], uv[n, 1], sizes[level, 0], sizes[level, 1], sizes[level, 2], wrap
                    )
                    for c in range(texels.shape[1]):
                        g = gradient[n, c]
                        over, under = texels[j, c] - texels[i, c], texels[m, c] - texels[k, c]
                        upper, lower = texels[i, c] + right * over, texels[k, c] + right * under
                        to_level += sign * g * (upper + below * (lower - upper))
                        to_uv[n, 0] += share * g * sizes[level, 2] * (over + below * (under - over))
                        to_uv[n, 1] -= share * g * sizes[level, 1] * (lower - upper)
                        total[t, i, c] += share * g * (1 - right) * (1 - below)
                        total[t, j, c] += share * g * right * (1 - below)
                        total[t, k, c] += share * g * (1 - right) * below
                        total[t, m, c] += share * g * right * below
                level += 1
            if len(jacobian):
                for row, size in ((0, width), (1, height)):
                    x, y = jacobian[n, row, 0] * size, jacobian[n, row, 1] * size
                    to_jacobian[n, row, 0] = to_level * size * (2 * da * x + dc * y)
                    to_jacobian[n, row, 1] = to_level * size * (2 * db * y + dc * x)


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, texels: Tensor, sizes: Tensor, uv: Tensor, jacobian: Tensor, wrap: bool) -> Tensor:
        inputs = [tensor.detach().contiguous() for tensor in (texels, sizes, uv, jacobian)]
        out = texels.new_empty(len(uv), texels.shape[1])
        run(_forward, SLOTS, SLOTS, *[tensor.numpy() for tensor in inputs], wrap, out.numpy())
        ctx.save_for_backward(*inputs)
        ctx.wrap = wrap
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        texels, sizes, uv, jacobian = ctx.saved_tensors
        total = texels.new_zeros(SLOTS, *texels.shape)
        results = (total, torch.empty_like(uv), torch.empty_like(jacobian))
        inputs = [tensor.numpy() for tensor in ctx.saved_tensors]
        others = [tensor.numpy() for tensor in (gradients[0].contiguous(), *results)]
        run(_backward, SLOTS, SLOTS, *inputs, ctx.wrap, *others)
        return total.sum(0), None, results[1], results[2], None


def sample(
    texture: Float[Tensor, "H W C"],
    uv: Float[Tensor, "*points 2"],
    derivatives: Float[Tensor, "*points 2 2"] | None = None,
    boundary: str = "clamp",
) -> Float[Tensor, "*points C"]:
    """Bilinear within a mip level and linear between two; the finest level alone without `derivatives`."""
    check_boundary(boundary)
    levels = [texture] if derivatives is None else pyramid(texture)
    texels = [level.reshape(-1, texture.shape[-1]) for level in levels]
    sizes, start = torch.empty(len(levels), 3, dtype=torch.int64), 0
    for number, level in enumerate(levels):
        sizes[number] = torch.tensor([start, *level.shape[:2]])
        start += len(texels[number])
    jacobian = uv.new_empty(0, 2, 2) if derivatives is None else derivatives.reshape(-1, 2, 2)
    found = _Sample.apply(torch.cat(texels), sizes, uv.reshape(-1, 2), jacobian, boundary == "wrap")
    return found.reshape(*uv.shape[:-1], texture.shape[-1])
