"""blend on the CPU: squares of 16 x 16 pixels, four channels at a time; ops/splat.py has the mathematics.

A Gaussian has an entry for each tile that its box meets, in the tile's list from near to far. Going back, an
entry writes its share of the gradients into a slot of its own; then a Gaussian's slots are added in order: no
thread waits for another, and sums have one order. The loops over the 16 pixels of a row become vector
instructions: they have no branches, and exp(x) = exp(x / 8)^8 is a polynomial's, right to 1e-6 for x >= -6.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops import splat as op
from threestudio_like.ops.backends.numba.kernels import kernel, part, run
from threestudio_like.records import Footprints

SIDE = op.TILE
SHIFT = 4  # SIDE is 2^SHIFT
AREA = SIDE * SIDE
CHANNELS = 4
SUMS = 6 + CHANNELS  # in a slot: what center (2), conic (3), opacity and values get
PATIENCE = 16  # entries between looks whether all pixels of a tile have ended
LOWEST = -6.0  # its exponential is below MIN_ALPHA
FIT = Chebyshev.interpolate(np.exp, 5, domain=[LOWEST / 8, 0]).convert(kind=Polynomial)
E0, E1, E2, E3, E4, E5 = (np.float32(coefficient) for coefficient in FIT.coef)
LOW, EIGHTH, ZERO, HALF, ONE = (np.float32(number) for number in (LOWEST, 1 / 8, 0, 1 / 2, 1))
MAX_ALPHA, MIN_ALPHA = np.float32(op.MAX_ALPHA), np.float32(op.MIN_ALPHA)
MIN_THROUGH = np.float32(op.MIN_THROUGH)


class Lists(NamedTuple):
    """What is drawn where; k = b N + i is Gaussian i in view b."""

    boxes: np.ndarray  # [B N, 4]: the pixels that a Gaussian may touch, left, right, top, bottom
    bases: np.ndarray  # [B N + 1]: the first slot of each Gaussian, and the end
    starts: np.ndarray  # [B tiles + 2]: the first entry of each tile, and twice the end
    gaussians: np.ndarray  # of each entry, i
    slots: np.ndarray  # of each entry


@part
def _tiles(box):
    """The tiles that a box of pixels meets: left, right, top, bottom."""
    return box[0] >> SHIFT, (box[1] + SIDE - 1) >> SHIFT, box[2] >> SHIFT, (box[3] + SIDE - 1) >> SHIFT


@kernel
def _boxes(task, step, centers, spreads, opacities, height, width, boxes, counts):
    """The pixels that each Gaussian may touch, and in how many tiles they are."""
    num_views, count = spreads.shape[:2]
    for k in range(task, num_views * count, step):
        b, i = k // count, k % count
        counts[k] = 0
        if spreads[b, i, 0] > ZERO and opacities[i] >= MIN_ALPHA:
            reach = math.sqrt(2 * math.log(opacities[i] / MIN_ALPHA))
            for axis in range(2):
                middle, half = centers[b, i, axis] - 0.5, reach * spreads[b, i, axis] + 1e-2
                end = width if axis == 0 else height
                boxes[k, 2 * axis] = min(max(math.ceil(middle - half), 0.0), end)
                boxes[k, 2 * axis + 1] = min(max(math.floor(middle + half) + 1, 0.0), end)
            if boxes[k, 0] < boxes[k, 1] and boxes[k, 2] < boxes[k, 3]:
                left, right, top, bottom = _tiles(boxes[k])
                counts[k] = (right - left) * (bottom - top)


@kernel
def _sorted(keys, counts):
    """Those that are drawn, by ascending key, equal ones as they come: a radix sort of 11 bits a time."""
    index = np.nonzero(counts)[0].astype(np.int32)
    other = np.empty_like(index)
    places = np.empty(2049, np.int64)
    for digit in range(3):
        shift = np.uint32(11 * digit)
        places[:] = 0
        for i in index:
            places[((keys[i] >> shift) & np.uint32(2047)) + 1] += 1
        for p in range(2048):
            places[p + 1] += places[p]
        for i in index:
            p = (keys[i] >> shift) & np.uint32(2047)
            other[places[p]] = i
            places[p] += 1
        index, other = other, index
    return index


@kernel
def _entries(keys, counts, boxes, bases, columns, tiles, starts, gaussians, slots):
    """The lists of all tiles; `keys` sort as the depths do."""
    num_views, count = keys.shape
    for k in range(num_views * count):
        if counts[k] > 0:
            left, right, top, bottom = _tiles(boxes[k])
            for row in range(top, bottom):
                for column in range(left, right):
                    starts[k // count * tiles + row * columns + column + 2] += 1
    for t in range(2, len(starts)):
        starts[t] += starts[t - 1]
    for b in range(num_views):
        for i in _sorted(keys[b], counts[b * count : (b + 1) * count]):
            k = b * count + i
            slot = bases[k]
            left, right, top, bottom = _tiles(boxes[k])
            for row in range(top, bottom):
                for column in range(left, right):
                    t = b * tiles + row * columns + column + 1
                    gaussians[starts[t]], slots[starts[t]] = i, slot
                    starts[t] += 1  # in the end where the next tile starts
                    slot += 1


def lists(prints: Footprints, opacities: Float[Tensor, " N"], height: int, width: int) -> Lists:
    """Of all views."""
    centers, depths, spreads, opaque = _arrays(prints.centers, prints.depths, prints.spreads, opacities)
    num_views, count = depths.shape
    columns, rows = -(-width // SIDE), -(-height // SIDE)
    boxes = np.empty((num_views * count, 4), np.int32)
    counts = np.empty(num_views * count, np.int64)
    bases = np.zeros(num_views * count + 1, np.int64)
    run(_boxes, torch.get_num_threads(), centers, spreads, opaque, height, width, boxes, counts)
    np.cumsum(counts, out=bases[1:])
    starts = np.zeros(num_views * columns * rows + 2, np.int64)
    gaussians, slots = np.empty(bases[-1], np.int32), np.empty(bases[-1], np.int64)
    keys = depths.view(np.uint32)  # positive numbers sort as their bits do
    _entries(keys, counts, boxes, bases, columns, columns * rows, starts, gaussians, slots)
    return Lists(boxes, bases, starts, gaussians, slots)


@part
def _exp(x):
    """For x <= 0; below LOWEST, that of LOWEST."""
    y = max(x, LOW) * EIGHTH
    p = E0 + y * (E1 + y * (E2 + y * (E3 + y * (E4 + y * E5))))
    p = p * p
    p = p * p
    return p * p


@part
def _window(box, top):
    """The rows of a tile that are in a box, unsigned, which spares the check for negative indices."""
    return np.uint64(max(box[2] - top, 0)), np.uint64(min(box[3] - top, SIDE))


@part
def _ended(planes):
    """Whether nothing more shows in any pixel."""
    live = 0
    for j in range(AREA):
        live += planes[j] > ZERO
    return live == 0


@part
def _draw(planes, first, last, x, y, conic, opacity, value):
    """Add a Gaussian to rows [first, last) of a tile's planes: T (0 when ended), weights, four channels."""
    a, b, c = -HALF * conic[0], -conic[1], -HALF * conic[2]
    v0, v1, v2, v3 = value[0], value[1], value[2], value[3]
    for row in range(first, last):
        down = np.float32(row) - y
        line, rest = b * down, c * down * down
        for column in range(SIDE):
            j = row * np.uint64(SIDE) + np.uint64(column)
            across = np.float32(column) - x
            alpha = min(opacity * _exp((a * across + line) * across + rest), MAX_ALPHA)
            alpha = alpha if alpha >= MIN_ALPHA else ZERO
            through = planes[j]
            after = through * (ONE - alpha)
            on = after >= MIN_THROUGH
            weight = alpha * through if on else ZERO
            planes[j] = after if on else ZERO
            planes[j + np.uint64(AREA)] += weight
            planes[j + np.uint64(2 * AREA)] += weight * v0
            planes[j + np.uint64(3 * AREA)] += weight * v1
            planes[j + np.uint64(4 * AREA)] += weight * v2
            planes[j + np.uint64(5 * AREA)] += weight * v3


@kernel
def _forward(task, step, lists, centers, conics, opacities, values, sums, alpha):
    boxes, starts, gaussians = lists.boxes, lists.starts, lists.gaussians
    num_views, height, width = alpha.shape[:3]
    columns, count = -(-width // SIDE), len(opacities)
    tiles = columns * -(-height // SIDE)
    planes = np.empty((2 + CHANNELS) * AREA, np.float32)
    for t in range(task, num_views * tiles, step):
        b, top, left = t // tiles, t % tiles // columns * SIDE, t % columns * SIDE
        planes[:AREA] = ONE
        planes[AREA:] = ZERO
        for entry in range(starts[t], starts[t + 1]):
            if (entry - starts[t]) % PATIENCE == PATIENCE - 1 and _ended(planes):
                break
            i = gaussians[entry]
            first, last = _window(boxes[b * count + i], top)
            x, y = centers[b, i, 0] - np.float32(left + 0.5), centers[b, i, 1] - np.float32(top + 0.5)
            _draw(planes, first, last, x, y, conics[b, i], opacities[i], values[b, i])
        for row in range(min(SIDE, height - top)):
            for column in range(min(SIDE, width - left)):
                j = row * SIDE + column
                alpha[b, top + row, left + column, 0] = planes[AREA + j]
                for c in range(CHANNELS):
                    sums[b, top + row, left + column, c] = planes[(2 + c) * AREA + j]


@part
def _undraw(planes, lanes, first, last, x, y, conic, opacity, value):
    """Walk through rows [first, last) again; sums over rows of a Gaussian's gradients, for each column.

    planes: T (0 when ended), sum of g . (value, 1) weight behind, g of alpha, g of four channels.
    lanes: of dL / d(power) its sum, times y, times y^2; and the gradients of the four channels.
    """
    a, b, c = -HALF * conic[0], -conic[1], -HALF * conic[2]
    v0, v1, v2, v3 = value[0], value[1], value[2], value[3]
    lanes[:] = ZERO
    for row in range(first, last):
        down = np.float32(row) - y
        line, rest = b * down, c * down * down
        for column in range(SIDE):
            j, lane = row * np.uint64(SIDE) + np.uint64(column), np.uint64(column)
            across = np.float32(column) - x
            raw = opacity * _exp((a * across + line) * across + rest)
            alpha = min(raw, MAX_ALPHA)
            alpha = alpha if alpha >= MIN_ALPHA else ZERO
            through = planes[j]
            after = through * (ONE - alpha)
            on = after >= MIN_THROUGH
            weight = alpha * through if on else ZERO
            g0, g1 = planes[j + np.uint64(3 * AREA)], planes[j + np.uint64(4 * AREA)]
            g2, g3 = planes[j + np.uint64(5 * AREA)], planes[j + np.uint64(6 * AREA)]
            shown = planes[j + np.uint64(2 * AREA)] + (g0 * v0 + g1 * v1) + (g2 * v2 + g3 * v3)
            behind = planes[j + np.uint64(AREA)] - weight * shown
            slope = weight * shown - alpha * behind / (ONE - alpha)
            slope = slope if on and raw < MAX_ALPHA else ZERO
            planes[j] = after if on else ZERO
            planes[j + np.uint64(AREA)] = behind
            lanes[lane] += slope
            lanes[lane + np.uint64(SIDE)] += slope * down
            lanes[lane + np.uint64(2 * SIDE)] += slope * down * down
            lanes[lane + np.uint64(3 * SIDE)] += weight * g0
            lanes[lane + np.uint64(4 * SIDE)] += weight * g1
            lanes[lane + np.uint64(5 * SIDE)] += weight * g2
            lanes[lane + np.uint64(6 * SIDE)] += weight * g3


@part
def _gathered(lanes, x, conic, opacity, slot):
    """A tile's share of a Gaussian's gradients, from the sums for each column."""
    s, sx, sy, sxx, sxy, syy = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    for column in range(SIDE):
        across = np.float32(column) - x
        s += lanes[column]
        sx += lanes[column] * across
        sxx += lanes[column] * across * across
        sy += lanes[SIDE + column]
        sxy += lanes[SIDE + column] * across
        syy += lanes[2 * SIDE + column]
    slot[0] = conic[0] * sx + conic[1] * sy
    slot[1] = conic[1] * sx + conic[2] * sy
    slot[2], slot[3], slot[4] = -HALF * sxx, -sxy, -HALF * syy
    slot[5] = s / opacity
    for c in range(CHANNELS):
        slot[6 + c] = lanes[(3 + c) * SIDE : (4 + c) * SIDE].sum()


@part
def _load(planes, top, left, sums, alpha, sums_grad, alpha_grad):
    """A tile's pixels as `_undraw` wants them; outside of the picture they have ended."""
    planes[:] = ZERO
    height, width = alpha.shape[:2]
    for row in range(min(SIDE, height - top)):
        for column in range(min(SIDE, width - left)):
            j, r, k = row * SIDE + column, top + row, left + column
            total = alpha_grad[r, k, 0] * alpha[r, k, 0]
            for c in range(CHANNELS):
                planes[(3 + c) * AREA + j] = sums_grad[r, k, c]
                total += sums_grad[r, k, c] * sums[r, k, c]
            planes[j] = ONE
            planes[AREA + j] = total
            planes[2 * AREA + j] = alpha_grad[r, k, 0]


@kernel
def _backward(
    task, step, lists, centers, conics, opacities, values, sums, alpha, sums_grad, alpha_grad, slots
):
    boxes, starts, gaussians = lists.boxes, lists.starts, lists.gaussians
    num_views, height, width = alpha.shape[:3]
    columns, count = -(-width // SIDE), len(opacities)
    tiles = columns * -(-height // SIDE)
    planes, lanes = np.empty((3 + CHANNELS) * AREA, np.float32), np.empty((3 + CHANNELS) * SIDE, np.float32)
    for t in range(task, num_views * tiles, step):
        b, top, left = t // tiles, t % tiles // columns * SIDE, t % columns * SIDE
        _load(planes, top, left, sums[b], alpha[b], sums_grad[b], alpha_grad[b])
        ended = False
        for entry in range(starts[t], starts[t + 1]):
            slot = slots[lists.slots[entry]]
            if (entry - starts[t]) % PATIENCE == PATIENCE - 1:
                ended = ended or _ended(planes)
            if ended:
                slot[:] = ZERO
                continue
            i = gaussians[entry]
            first, last = _window(boxes[b * count + i], top)
            x, y = centers[b, i, 0] - np.float32(left + 0.5), centers[b, i, 1] - np.float32(top + 0.5)
            _undraw(planes, lanes, first, last, x, y, conics[b, i], opacities[i], values[b, i])
            _gathered(lanes, x, conics[b, i], opacities[i], slot)


@kernel
def _add(task, step, bases, slots, centers, conics, opacities, values):
    """The gradients of each Gaussian: its slots, one after the other."""
    num_views, count = values.shape[:2]
    total = np.empty(SUMS)
    for i in range(task, count, step):
        opacities[i] = ZERO
        for b in range(num_views):
            total[:] = 0
            for slot in range(bases[b * count + i], bases[b * count + i + 1]):
                for c in range(SUMS):
                    total[c] += slots[slot, c]
            centers[b, i] = total[:2]
            conics[b, i] = total[2:5]
            opacities[i] += total[5]
            values[b, i] = total[6:]


class _Blend(torch.autograd.Function):
    """Of four channels."""

    @staticmethod
    def forward(
        ctx: Any,
        centers: Tensor,
        conics: Tensor,
        opacities: Tensor,
        values: Tensor,
        found: Lists,
        size: tuple,
    ) -> tuple[Tensor, Tensor]:
        sums = values.new_empty(len(values), *size, CHANNELS)
        alpha = values.new_empty(len(values), *size, 1)
        tiles = len(found.starts) - 2
        run(_forward, tiles, found, *_arrays(centers, conics, opacities, values, sums, alpha))
        ctx.save_for_backward(centers, conics, opacities, values, sums, alpha)
        ctx.lists = found
        return sums, alpha

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, sums_grad: Tensor, alpha_grad: Tensor) -> tuple[Tensor | None, ...]:
        saved, found = ctx.saved_tensors, ctx.lists
        slots = np.empty((len(found.slots), SUMS), np.float32)
        run(_backward, len(found.starts) - 2, found, *_arrays(*saved, sums_grad, alpha_grad), slots)
        grads = [torch.empty_like(tensor) for tensor in saved[:4]]
        run(_add, torch.get_num_threads(), found.bases, slots, *_arrays(*grads))
        return *grads, None, None


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def blend(
    footprints: Footprints,
    opacities: Float[Tensor, " N"],
    values: Float[Tensor, "B N C"],
    height: int,
    width: int,
) -> tuple[Float[Tensor, "B H W C"], Float[Tensor, "B H W 1"]]:
    """See ops.splat."""
    found = lists(footprints, opacities, height, width)
    shapes = footprints.centers.contiguous(), footprints.conics.contiguous(), opacities.contiguous()
    channels = values.shape[-1]
    drawn = [
        _Blend.apply(*shapes, four.contiguous(), found, (height, width))
        for four in F.pad(values, (0, -channels % CHANNELS)).split(CHANNELS, dim=-1)
    ]
    return torch.cat([sums for sums, _ in drawn], dim=-1)[..., :channels], drawn[0][1]
