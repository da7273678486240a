"""Compositing on the CPU, ray by ray; ops/volume.py has the mathematics.

With T_i = prod_{j<i} (1 - alpha_j) and B_{i-1} = g_i alpha_i + (1 - alpha_i) B_i, what is seen from behind
sample i - 1, the gradient of sum g_i w_i to alpha_i is T_i (g_i - B_i): nothing is divided by 1 - alpha.
To tau_i, with alpha = 1 - exp(-tau), it is g_i (T_i - w_i) - sum_{j>i} g_j w_j: fewer steps in a row.
Rows of a picture of samples are packed rays of one length; tasks are blocks of rays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops.backends.numba.kernels import kernel, part, run

TASKS = 16
ZERO = np.float32(0)
ONE = np.float32(1)
ONE_MORE = np.uint64(1)


@kernel
def _ends(ray, num_rays):
    """Where each ray's samples begin, and after the last ray where they end."""
    ends = np.zeros(num_rays + 1, np.int64)
    for sample in range(len(ray)):
        ends[ray[sample] + 1] += 1
    for n in range(num_rays):
        ends[n + 1] += ends[n]
    return ends


@part
def _rays(task, tasks, ends):
    """The first ray of a task and the one after its last."""
    num_rays = len(ends) - 1
    return num_rays * task // tasks, num_rays * (task + 1) // tasks


@part
def _weigh_ray(first, last, alpha, before, weights):
    through = ONE
    for i in range(first, last):
        before[i] = through
        weights[i] = through * alpha[i]
        through *= ONE - alpha[i]


@kernel
def _weigh(task, step, tasks, ends, alpha, before, weights):
    for t in range(task, tasks, step):
        for n in range(*_rays(t, tasks, ends)):
            _weigh_ray(np.uint64(ends[n]), np.uint64(ends[n + 1]), alpha, before, weights)


@part
def _weigh_ray_backward(first, last, alpha, before, gradient, out):
    behind = ZERO
    for j in range(first, last):
        i = first + last - ONE_MORE - j
        out[i] = before[i] * (gradient[i] - behind)
        behind = alpha[i] * gradient[i] + (ONE - alpha[i]) * behind


@kernel
def _weigh_backward(task, step, tasks, ends, alpha, before, gradient, out):
    for t in range(task, tasks, step):
        for n in range(*_rays(t, tasks, ends)):
            _weigh_ray_backward(np.uint64(ends[n]), np.uint64(ends[n + 1]), alpha, before, gradient, out)


@part
def _absorb_ray_backward(first, last, alpha, before, gradient, out):
    after = ZERO
    for j in range(first, last):
        i = first + last - ONE_MORE - j
        weight = alpha[i] * before[i]
        out[i] = gradient[i] * (before[i] - weight) - after
        after += gradient[i] * weight


@kernel
def _absorb_backward(task, step, tasks, ends, alpha, before, gradient, out):
    for t in range(task, tasks, step):
        for n in range(*_rays(t, tasks, ends)):
            _absorb_ray_backward(np.uint64(ends[n]), np.uint64(ends[n + 1]), alpha, before, gradient, out)


@part
def _sum_ray(first, last, weights, values, lanes, out):
    for c in range(len(lanes)):
        out[c] = ZERO
    for i in range(first, last):
        for c in range(len(lanes)):
            out[c] += weights[i] * values[i, c]


@kernel
def _sum(task, step, tasks, ends, weights, values, lanes, out):
    for t in range(task, tasks, step):
        for n in range(*_rays(t, tasks, ends)):
            _sum_ray(np.uint64(ends[n]), np.uint64(ends[n + 1]), weights, values, lanes, out[n])


@part
def _sum_ray_backward(first, last, weights, values, gradient, lanes, weights_gradient, values_gradient):
    for i in range(first, last):
        total = ZERO
        for c in range(len(lanes)):
            total += gradient[c] * values[i, c]
            values_gradient[i, c] = gradient[c] * weights[i]
        weights_gradient[i] = total


@kernel
def _sum_backward(
    task, step, tasks, ends, weights, values, gradient, lanes, weights_gradient, values_gradient
):
    for t in range(task, tasks, step):
        for n in range(*_rays(t, tasks, ends)):
            first, last = np.uint64(ends[n]), np.uint64(ends[n + 1])
            _sum_ray_backward(
                first, last, weights, values, gradient[n], lanes, weights_gradient, values_gradient
            )


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().numpy() for tensor in tensors]


def _lanes(values: Tensor) -> tuple[int, ...]:
    """One 0 for each channel: its length is a constant to the compiler."""
    return (0,) * values.shape[1]


class _Weights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, alpha: Tensor, ends: np.ndarray) -> Tensor:
        alpha = alpha.contiguous()
        before, weights = torch.empty_like(alpha), torch.empty_like(alpha)
        run(_weigh, TASKS, TASKS, ends, *_arrays(alpha, before, weights))
        ctx.save_for_backward(alpha, before)
        ctx.ends = ends
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        alpha, before = ctx.saved_tensors
        out = torch.empty_like(alpha)
        arrays = _arrays(alpha, before, gradients[0].contiguous(), out)
        run(_weigh_backward, TASKS, TASKS, ctx.ends, *arrays)
        return out, None


class _Absorbed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, density: Tensor, delta: Tensor, ends: np.ndarray) -> Tensor:
        alpha = torch.mul(density, delta).neg_().expm1_().neg_()
        before, weights = torch.empty_like(alpha), torch.empty_like(alpha)
        run(_weigh, TASKS, TASKS, ends, *_arrays(alpha, before, weights))
        ctx.save_for_backward(density, delta, alpha, before)
        ctx.ends = ends
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        density, delta, alpha, before = ctx.saved_tensors
        tau = torch.empty_like(alpha)
        run(_absorb_backward, TASKS, TASKS, ctx.ends, *_arrays(alpha, before, gradients[0].contiguous(), tau))
        needs_density, needs_delta, _ = ctx.needs_input_grad
        return tau * delta if needs_density else None, tau * density if needs_delta else None, None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, values: Tensor, ends: np.ndarray) -> Tensor:
        weights, values = weights.contiguous(), values.contiguous()
        out = values.new_empty(len(ends) - 1, values.shape[1])
        run(_sum, TASKS, TASKS, ends, *_arrays(weights, values), _lanes(values), out.numpy())
        ctx.save_for_backward(weights, values)
        ctx.ends = ends
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weights, values = ctx.saved_tensors
        grads = torch.empty_like(weights), torch.empty_like(values)
        arrays = _arrays(weights, values, gradients[0].contiguous())
        run(_sum_backward, TASKS, TASKS, ctx.ends, *arrays, _lanes(values), *_arrays(*grads))
        return *grads, None


def _even(num_rays: int, num_samples: int) -> np.ndarray:
    """Ends of rays that have equally many samples."""
    return np.arange(num_rays + 1) * num_samples


def weights_from_alpha(alpha: Float[Tensor, "N S"]) -> Float[Tensor, "N S"]:
    """See ops.volume."""
    return _Weights.apply(alpha.reshape(-1), _even(*alpha.shape)).view(alpha.shape)


def weights_from_density(density: Float[Tensor, "N S"], delta: Float[Tensor, "N S"]) -> Float[Tensor, "N S"]:
    """See ops.volume."""
    flat = density.reshape(-1), delta.reshape(-1)
    return _Absorbed.apply(*flat, _even(*density.shape)).view(density.shape)


def composite(weights: Float[Tensor, "N S"], values: Float[Tensor, "N S C"]) -> Float[Tensor, "N C"]:
    """See ops.volume."""
    return _Sum.apply(weights.reshape(-1), values.flatten(0, 1), _even(*weights.shape))


def packed_weights_from_alpha(
    alpha: Float[Tensor, " S"], ray: Int[Tensor, " S"], num_rays: int
) -> Float[Tensor, " S"]:
    """See ops.volume."""
    return _Weights.apply(alpha, _ends(ray.numpy(), num_rays))


def packed_weights_from_density(
    density: Float[Tensor, " S"], delta: Float[Tensor, " S"], ray: Int[Tensor, " S"], num_rays: int
) -> Float[Tensor, " S"]:
    """See ops.volume."""
    return _Absorbed.apply(density, delta, _ends(ray.numpy(), num_rays))


def packed_sum(
    weights: Float[Tensor, " S"], values: Float[Tensor, "S C"], ray: Int[Tensor, " S"], num_rays: int
) -> Float[Tensor, "N C"]:
    """See ops.volume."""
    return _Sum.apply(weights, values, _ends(ray.numpy(), num_rays))
