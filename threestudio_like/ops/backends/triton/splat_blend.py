"""blend on CUDA: one program for each square of 16 x 16 pixels; ops/splat.py has the mathematics.

An entry is a Gaussian in a square that its box meets; entries are sorted by square, then depth, and K of them
are drawn at a time: pixels by Gaussians are a matrix. Going back, a program walks from near to far again, and
takes what is behind from what is left of the whole.
"""

from typing import Any

import torch
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops import splat as op
from threestudio_like.ops.backends.triton.kernels import kernel, launch, power_of_two
from threestudio_like.records import Footprints

SIDE = tl.constexpr(op.TILE)
PIXELS = tl.constexpr(op.TILE**2)
K = tl.constexpr(16)  # products of matrices want as many
MAX_ALPHA = tl.constexpr(op.MAX_ALPHA)
MIN_ALPHA = tl.constexpr(op.MIN_ALPHA)
MIN_THROUGH = tl.constexpr(op.MIN_THROUGH)
SLACK = 0.01  # pixels by which a box is larger: more than any rounding


@kernel
def _square(columns, rows):
    """View of a program's square, and row and column of its pixels."""
    t, p = tl.program_id(0), tl.arange(0, PIXELS)
    row = t // columns % rows * SIDE + p // SIDE
    return (t // (columns * rows)).to(tl.int64), row, t % columns * SIDE + p % SIDE


@kernel
def _load(centers, conics, opacities, k, here, count):
    """Shape and opacity of Gaussians."""
    x, y = tl.load(centers + 2 * k, mask=here, other=0.0), tl.load(centers + 2 * k + 1, mask=here, other=0.0)
    a, b = tl.load(conics + 3 * k, mask=here, other=0.0), tl.load(conics + 3 * k + 1, mask=here, other=0.0)
    c = tl.load(conics + 3 * k + 2, mask=here, other=0.0)
    return x, y, a, b, c, tl.load(opacities + k % count, mask=here, other=0.0)


@kernel
def _opacity(row, column, x, y, a, b, c, opacity):
    """Pixels by Gaussians: alpha, also before it is held, and the way from the Gaussian's center."""
    across = (column.to(tl.float32) + 0.5)[:, None] - x[None, :]
    down = (row.to(tl.float32) + 0.5)[:, None] - y[None, :]
    power = a[None, :] * across * across + 2 * b[None, :] * across * down + c[None, :] * down * down
    raw = opacity[None, :] * tl.exp(-0.5 * power)
    return tl.where(raw >= MIN_ALPHA, tl.minimum(raw, MAX_ALPHA), 0.0), raw, across, down


@kernel
def _weigh(through, alpha):
    """Weights, which are drawn at all, and what gets through: 0 once a pixel has ended."""
    after = through[:, None] * tl.cumprod(1 - alpha, axis=1)
    on = after >= MIN_THROUGH
    weight = tl.where(on, alpha * after / (1 - alpha), 0.0)
    return weight, on, tl.min(tl.where(on, after, 0.0), axis=1)


@kernel
def _values(values, k, here, lane, C: tl.constexpr):
    """Channels of Gaussians, and 1 in the one that sums the weights."""
    there = here[:, None] & (lane < C)[None, :]
    found = tl.load(values + k[:, None] * C + lane[None, :], mask=there, other=0.0)
    return tl.where((lane == C)[None, :] & here[:, None], 1.0, found)


@kernel
def _forward(
    centers,
    conics,
    opacities,
    values,
    entries,
    starts,
    sums,
    alphas,
    count,
    height,
    width,
    columns,
    rows,
    C: tl.constexpr,
    LANES: tl.constexpr,
):
    view, row, column = _square(columns, rows)
    lane, inside = tl.arange(0, LANES), (row < height) & (column < width)
    total, through = tl.zeros([PIXELS, LANES], tl.float32), tl.where(inside, 1.0, 0.0)
    entry, end = tl.load(starts + tl.program_id(0)), tl.load(starts + tl.program_id(0) + 1)
    while (entry < end) & (tl.max(through, axis=0) > 0):
        here = entry + tl.arange(0, K) < end
        k = tl.load(entries + entry + tl.arange(0, K), mask=here, other=0)
        x, y, a, b, c, opacity = _load(centers, conics, opacities, k, here, count)
        alpha, raw, across, down = _opacity(row, column, x, y, a, b, c, opacity)
        weight, on, through = _weigh(through, alpha)
        total = tl.dot(weight, _values(values, k, here, lane, C), total, input_precision="ieee")
        entry += K
    pixel = (view * height + row) * width + column
    both = inside[:, None] & (lane < C)[None, :]
    tl.store(sums + pixel[:, None] * C + lane[None, :], total, mask=both)
    tl.store(alphas + pixel, tl.sum(tl.where((lane == C)[None, :], total, 0.0), axis=1), mask=inside)


@kernel
def _whole(sums, alphas, g_sums, g_alpha, pixel, inside, C: tl.constexpr):
    """g . (sums, alpha) of each pixel."""
    total = g_alpha * tl.load(alphas + pixel, mask=inside, other=0.0)
    for channel in tl.static_range(C):
        g = tl.load(g_sums + pixel * C + channel, mask=inside, other=0.0)
        total += g * tl.load(sums + pixel * C + channel, mask=inside, other=0.0)
    return total


@kernel
def _shown(values, g_sums, g_alpha, pixel, inside, k, here, C: tl.constexpr):
    """g . (value, 1): pixels by Gaussians."""
    total = g_alpha[:, None] + tl.zeros([PIXELS, K], tl.float32)
    for channel in tl.static_range(C):
        g = tl.load(g_sums + pixel * C + channel, mask=inside, other=0.0)
        total += g[:, None] * tl.load(values + k * C + channel, mask=here, other=0.0)[None, :]
    return total


@kernel
def _add_values(weight, g_sums, pixel, inside, k, here, to_values, C: tl.constexpr):
    for channel in tl.static_range(C):
        g = tl.load(g_sums + pixel * C + channel, mask=inside, other=0.0)
        to_value = tl.sum(weight * g[:, None], axis=0)
        tl.atomic_add(to_values + k * C + channel, to_value, mask=here, sem="relaxed")


@kernel
def _add(slope, across, down, a, b, c, opacity, k, here, count, to_centers, to_conics, to_opacities):
    """Add to the gradients of Gaussians; `slope` is dL / d(power of e) at each pixel."""
    by_x, by_y = slope * across, slope * down
    x, y = tl.sum(by_x, axis=0), tl.sum(by_y, axis=0)
    tl.atomic_add(to_centers + 2 * k, a * x + b * y, mask=here, sem="relaxed")
    tl.atomic_add(to_centers + 2 * k + 1, b * x + c * y, mask=here, sem="relaxed")
    tl.atomic_add(to_conics + 3 * k, -0.5 * tl.sum(by_x * across, axis=0), mask=here, sem="relaxed")
    tl.atomic_add(to_conics + 3 * k + 1, -tl.sum(by_x * down, axis=0), mask=here, sem="relaxed")
    tl.atomic_add(to_conics + 3 * k + 2, -0.5 * tl.sum(by_y * down, axis=0), mask=here, sem="relaxed")
    to_opacity = tl.sum(slope, axis=0) / tl.where(here, opacity, 1.0)
    tl.atomic_add(to_opacities + k % count, to_opacity, mask=here, sem="relaxed")


@kernel
def _backward(
    centers,
    conics,
    opacities,
    values,
    entries,
    starts,
    sums,
    alphas,
    g_sums,
    g_alphas,
    to_centers,
    to_conics,
    to_opacities,
    to_values,
    count,
    height,
    width,
    columns,
    rows,
    C: tl.constexpr,
):
    view, row, column = _square(columns, rows)
    inside, pixel = (row < height) & (column < width), (view * height + row) * width + column
    g_alpha = tl.load(g_alphas + pixel, mask=inside, other=0.0)
    left, through = _whole(sums, alphas, g_sums, g_alpha, pixel, inside, C), tl.where(inside, 1.0, 0.0)
    entry, end = tl.load(starts + tl.program_id(0)), tl.load(starts + tl.program_id(0) + 1)
    while (entry < end) & (tl.max(through, axis=0) > 0):
        here = entry + tl.arange(0, K) < end
        k = tl.load(entries + entry + tl.arange(0, K), mask=here, other=0)
        x, y, a, b, c, opacity = _load(centers, conics, opacities, k, here, count)
        alpha, raw, across, down = _opacity(row, column, x, y, a, b, c, opacity)
        weight, on, through = _weigh(through, alpha)
        _add_values(weight, g_sums, pixel, inside, k, here, to_values, C)
        shown = weight * _shown(values, g_sums, g_alpha, pixel, inside, k, here, C)
        behind = left[:, None] - tl.cumsum(shown, axis=1)
        left -= tl.sum(shown, axis=1)
        slope = tl.where(on & (raw < MAX_ALPHA), shown - alpha * behind / (1 - alpha), 0.0)
        _add(slope, across, down, a, b, c, opacity, k, here, count, to_centers, to_conics, to_opacities)
        entry += K


@torch.no_grad()
def _lists(prints: Footprints, opacities: Tensor, columns: int, rows: int) -> tuple[Tensor, Tensor]:
    """Gaussians (b N + i) of each square from near to far, square after square; and where each begins."""
    num_views, count = prints.depths.shape
    drawn = (prints.spreads[..., 0] > 0) & (opacities >= op.MIN_ALPHA)
    reach = torch.sqrt(2 * torch.log(opacities.clamp(min=op.MIN_ALPHA) / op.MIN_ALPHA))
    reach = prints.spreads * reach[:, None] + SLACK
    limit = torch.tensor([columns, rows], device=opacities.device)
    first = torch.minimum(((prints.centers - reach) / op.TILE).floor().clamp(min=0), limit).long()
    last = torch.minimum(((prints.centers + reach) / op.TILE).floor().clamp(min=-1) + 1, limit).long()
    extent = (last - first).clamp(min=0)
    counts = torch.where(drawn, extent.prod(-1), 0).flatten()
    stops = counts.cumsum(0)
    total = int(stops[-1]) if len(stops) else 0
    owner = torch.repeat_interleave(
        torch.arange(len(counts), device=counts.device), counts, output_size=total
    )
    place = torch.arange(total, device=counts.device) - (stops - counts)[owner]
    (left, top), across = first.flatten(0, 1)[owner].unbind(1), extent[..., 0].flatten()[owner]
    square = (owner // max(count, 1) * rows + top + place // across) * columns + left + place % across
    # positive numbers sort as their bits do; stable, so that the first of equally near ones stays the first
    key = square << 32 | prints.depths.contiguous().view(torch.int32).flatten()[owner]
    key, order = torch.sort(key, stable=True)
    squares = torch.arange(num_views * columns * rows + 1, device=counts.device)
    return owner[order], torch.searchsorted(key, squares << 32)


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        centers: Tensor,
        conics: Tensor,
        opacities: Tensor,
        values: Tensor,
        lists: tuple,
        size: tuple,
    ) -> tuple[Tensor, Tensor]:
        (num_views, count, channels), (height, width, columns, rows) = values.shape, size
        sums = values.new_empty(num_views, height, width, channels)
        alphas = values.new_empty(num_views, height, width, 1)
        tensors = [tensor.contiguous() for tensor in (centers, conics, opacities, values)]
        ctx.grid, ctx.sizes = (num_views * columns * rows,), (count, *size)
        ctx.constants = {"C": channels, "num_warps": 8}
        lanes = max(power_of_two(channels + 1), K.value)
        launch(_forward, ctx.grid, *tensors, *lists, sums, alphas, *ctx.sizes, LANES=lanes, **ctx.constants)
        ctx.save_for_backward(*tensors, *lists, sums, alphas)
        return sums, alphas

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        given = [gradient.contiguous() for gradient in gradients]
        grads = [torch.zeros_like(tensor) for tensor in ctx.saved_tensors[:4]]
        launch(_backward, ctx.grid, *ctx.saved_tensors, *given, *grads, *ctx.sizes, **ctx.constants)
        return *grads, None, None


def blend(
    footprints: Footprints,
    opacities: Float[Tensor, " N"],
    values: Float[Tensor, "B N C"],
    height: int,
    width: int,
) -> tuple[Float[Tensor, "B H W C"], Float[Tensor, "B H W 1"]]:
    """See ops.splat."""
    columns, rows = -(-width // op.TILE), -(-height // op.TILE)
    lists = _lists(footprints, opacities, columns, rows)
    shapes = footprints.centers, footprints.conics, opacities
    return _Blend.apply(*shapes, values, lists, (height, width, columns, rows))
