"""Compositing on CUDA: one program for each ray; ops/volume.py has the mathematics.

A ray's samples come in chunks of N lanes, outward, or for gradients inward. With T_i what reaches sample i
and B_{i-1} = g_i alpha_i + (1 - alpha_i) B_i what is seen from behind sample i - 1, the gradient of
sum g_i w_i to alpha_i is T_i (g_i - B_i): nothing is divided by 1 - alpha. To tau_i, with
alpha = 1 - exp(-tau), it is g_i T_{i+1} - sum_{j>i} g_j w_j. Rows of samples are packed rays of one length.
"""

from typing import Any

import torch
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops.backends.triton.kernels import kernel, launch, power_of_two

WARP: dict[str, Any] = {"N": 32, "num_warps": 1}  # most rays have few samples


@kernel
def _last(values, lane, N: tl.constexpr):
    """What the last lane holds."""
    return tl.sum(tl.where(lane == N - 1, values, 0.0), axis=0)


@kernel
def _weigh(alpha, ends, before, weights, N: tl.constexpr):
    first, last = tl.load(ends + tl.program_id(0)), tl.load(ends + tl.program_id(0) + 1)
    lane = tl.arange(0, N)
    carried = 1.0
    for start in range(first, last, N):
        i = start + lane
        here = i < last
        opacity = tl.load(alpha + i, mask=here, other=0.0)
        previous = tl.load(alpha + i - 1, mask=here & (lane > 0), other=0.0)
        through = carried * tl.cumprod(1 - previous, axis=0)
        tl.store(before + i, through, mask=here)
        tl.store(weights + i, through * opacity, mask=here)
        carried = _last(through * (1 - opacity), lane, N)


@kernel
def _then(slope, shift, next_slope, next_shift):
    """x -> slope x + shift, and then the next one."""
    return slope * next_slope, shift * next_slope + next_shift


@kernel
def _weigh_backward(alpha, ends, before, gradient, out, N: tl.constexpr):
    first, last = tl.load(ends + tl.program_id(0)), tl.load(ends + tl.program_id(0) + 1)
    lane = tl.arange(0, N)
    carried = 0.0
    for done in range(0, last - first, N):
        i = last - 1 - done - lane
        here = i >= first
        opacity = tl.load(alpha + i, mask=here, other=0.0)
        g = tl.load(gradient + i, mask=here, other=0.0)
        farther = here & (lane > 0)
        next_opacity = tl.load(alpha + i + 1, mask=farther, other=0.0)
        next_g = tl.load(gradient + i + 1, mask=farther, other=0.0)
        slope, shift = tl.associative_scan((1 - next_opacity, next_g * next_opacity), 0, _then)
        behind = slope * carried + shift
        tl.store(out + i, tl.load(before + i, mask=here, other=0.0) * (g - behind), mask=here)
        carried = _last(g * opacity + (1 - opacity) * behind, lane, N)


@kernel
def _absorb(density, delta, ends, left, weights, N: tl.constexpr):
    first, last = tl.load(ends + tl.program_id(0)), tl.load(ends + tl.program_id(0) + 1)
    lane = tl.arange(0, N)
    carried = 0.0
    for start in range(first, last, N):
        i = start + lane
        here = i < last
        tau = tl.load(density + i, mask=here, other=0.0) * tl.load(delta + i, mask=here, other=0.0)
        total = carried + tl.cumsum(tau, axis=0)
        # the series where the difference would cancel
        series = tau * (1 - tau / 2 * (1 - tau / 3 * (1 - tau / 4 * (1 - tau / 5))))
        opacity = tl.where(tau < 0.1, series, 1 - tl.exp(-tau))
        tl.store(left + i, tl.exp(-total), mask=here)
        tl.store(weights + i, tl.exp(tau - total) * opacity, mask=here)
        carried += tl.sum(tau, axis=0)


@kernel
def _absorb_backward(density, delta, ends, left, weights, gradient, to_density, to_delta, N: tl.constexpr):
    first, last = tl.load(ends + tl.program_id(0)), tl.load(ends + tl.program_id(0) + 1)
    lane = tl.arange(0, N)
    carried = 0.0
    for done in range(0, last - first, N):
        i = last - 1 - done - lane
        here = i >= first
        g = tl.load(gradient + i, mask=here, other=0.0)
        farther = here & (lane > 0)
        next_g = tl.load(gradient + i + 1, mask=farther, other=0.0)
        after = carried + tl.cumsum(next_g * tl.load(weights + i + 1, mask=farther, other=0.0), axis=0)
        to_tau = g * tl.load(left + i, mask=here, other=0.0) - after
        tl.store(to_density + i, to_tau * tl.load(delta + i, mask=here, other=0.0), mask=here)
        tl.store(to_delta + i, to_tau * tl.load(density + i, mask=here, other=0.0), mask=here)
        carried = _last(after + g * tl.load(weights + i, mask=here, other=0.0), lane, N)


@kernel
def _sum(weights, values, ends, out, C: tl.constexpr, LANES: tl.constexpr, N: tl.constexpr):
    ray = tl.program_id(0).to(tl.int64)
    first, last = tl.load(ends + ray), tl.load(ends + ray + 1)
    c = tl.arange(0, LANES)
    total = tl.zeros([LANES], tl.float32)
    for start in range(first, last, N):
        i = start + tl.arange(0, N)
        w = tl.load(weights + i, mask=i < last, other=0.0)
        both = (i < last)[:, None] & (c < C)[None, :]
        total += tl.sum(
            w[:, None] * tl.load(values + i[:, None] * C + c[None, :], mask=both, other=0.0), axis=0
        )
    tl.store(out + ray * C + c, total, mask=c < C)


@kernel
def _sum_backward(
    weights,
    values,
    ends,
    gradient,
    to_weights,
    to_values,
    C: tl.constexpr,
    LANES: tl.constexpr,
    N: tl.constexpr,
):
    ray = tl.program_id(0).to(tl.int64)
    first, last = tl.load(ends + ray), tl.load(ends + ray + 1)
    c = tl.arange(0, LANES)
    g = tl.load(gradient + ray * C + c, mask=c < C, other=0.0)
    for start in range(first, last, N):
        i = start + tl.arange(0, N)
        w = tl.load(weights + i, mask=i < last, other=0.0)
        both, place = (i < last)[:, None] & (c < C)[None, :], i[:, None] * C + c[None, :]
        v = tl.load(values + place, mask=both, other=0.0)
        tl.store(to_weights + i, tl.sum(g[None, :] * v, axis=1), mask=i < last)
        tl.store(to_values + place, w[:, None] * g[None, :], mask=both)


class _Weights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, alpha: Tensor, ends: Tensor) -> Tensor:
        alpha = alpha.contiguous()
        before, weights = torch.empty_like(alpha), torch.empty_like(alpha)
        launch(_weigh, (len(ends) - 1,), alpha, ends, before, weights, **WARP)
        ctx.save_for_backward(alpha, ends, before)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        alpha, ends, before = ctx.saved_tensors
        out = torch.empty_like(alpha)
        tensors = alpha, ends, before, gradients[0].contiguous(), out
        launch(_weigh_backward, (len(ends) - 1,), *tensors, **WARP)
        return out, None


class _Absorbed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, density: Tensor, delta: Tensor, ends: Tensor) -> Tensor:
        density, delta = density.contiguous(), delta.contiguous()
        left, weights = torch.empty_like(density), torch.empty_like(density)
        launch(_absorb, (len(ends) - 1,), density, delta, ends, left, weights, **WARP)
        ctx.save_for_backward(density, delta, ends, left, weights)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved, ends = ctx.saved_tensors, ctx.saved_tensors[2]
        grads = torch.empty_like(saved[0]), torch.empty_like(saved[1])
        launch(_absorb_backward, (len(ends) - 1,), *saved, gradients[0].contiguous(), *grads, **WARP)
        return *grads, None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, values: Tensor, ends: Tensor) -> Tensor:
        weights, values = weights.contiguous(), values.contiguous()
        channels = values.shape[1]
        out = values.new_empty(len(ends) - 1, channels)
        ctx.lanes = {"C": channels, "LANES": power_of_two(channels), **WARP}
        launch(_sum, (len(out),), weights, values, ends, out, **ctx.lanes)
        ctx.save_for_backward(weights, values, ends)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weights, values, ends = ctx.saved_tensors
        grads = torch.empty_like(weights), torch.empty_like(values)
        tensors = weights, values, ends, gradients[0].contiguous(), *grads
        launch(_sum_backward, (len(ends) - 1,), *tensors, **ctx.lanes)
        return *grads, None


def _even(samples: Tensor) -> Tensor:
    """Ends of rays that have equally many samples."""
    num_rays, num_samples = samples.shape
    return torch.arange(num_rays + 1, device=samples.device) * num_samples


def _ends(ray: Tensor, num_rays: int) -> Tensor:
    """Where each ray's samples begin, and after the last ray where they end."""
    return torch.searchsorted(ray.contiguous(), torch.arange(num_rays + 1, device=ray.device))


def weights_from_alpha(alpha: Float[Tensor, "N S"]) -> Float[Tensor, "N S"]:
    """See ops.volume."""
    return _Weights.apply(alpha.reshape(-1), _even(alpha)).view(alpha.shape)


def weights_from_density(density: Float[Tensor, "N S"], delta: Float[Tensor, "N S"]) -> Float[Tensor, "N S"]:
    """See ops.volume."""
    flat = density.reshape(-1), delta.reshape(-1)
    return _Absorbed.apply(*flat, _even(density)).view(density.shape)


def composite(weights: Float[Tensor, "N S"], values: Float[Tensor, "N S C"]) -> Float[Tensor, "N C"]:
    """See ops.volume."""
    return _Sum.apply(weights.reshape(-1), values.flatten(0, 1), _even(weights))


def packed_weights_from_alpha(
    alpha: Float[Tensor, " S"], ray: Int[Tensor, " S"], num_rays: int
) -> Float[Tensor, " S"]:
    """See ops.volume."""
    return _Weights.apply(alpha, _ends(ray, num_rays))


def packed_weights_from_density(
    density: Float[Tensor, " S"], delta: Float[Tensor, " S"], ray: Int[Tensor, " S"], num_rays: int
) -> Float[Tensor, " S"]:
    """See ops.volume."""
    return _Absorbed.apply(density, delta, _ends(ray, num_rays))


def packed_sum(
    weights: Float[Tensor, " S"], values: Float[Tensor, "S C"], ray: Int[Tensor, " S"], num_rays: int
) -> Float[Tensor, "N C"]:
    """See ops.volume."""
    return _Sum.apply(weights, values, _ends(ray, num_rays))
