"""interpolate on CUDA, pixel by pixel; ops/raster.py has the mathematics."""

from typing import Any

import torch
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops.backends.triton.kernels import blocks, kernel, launch, power_of_two
from threestudio_like.ops.raster import Fragments

PIXELS = 128


@kernel
def _corner(faces, face, corner, first, here):
    """Row of the attributes of a corner."""
    return first + tl.load(faces + 3 * face + corner, mask=here, other=0)


@kernel
def _seen(faces, face, barycentric, n, c, per_view, view_size, total, C: tl.constexpr):
    """Of each pixel: (u, v), its corners' places among the attributes, and which of these are."""
    shown = tl.load(face + n, mask=n < total, other=-1)
    here, first = shown >= 0, n // view_size * per_view
    u = tl.load(barycentric + 2 * n, mask=here, other=0.0)[:, None]
    v = tl.load(barycentric + 2 * n + 1, mask=here, other=0.0)[:, None]
    i = _corner(faces, shown, 0, first, here)[:, None] * C + c[None, :]
    j = _corner(faces, shown, 1, first, here)[:, None] * C + c[None, :]
    k = _corner(faces, shown, 2, first, here)[:, None] * C + c[None, :]
    return u, v, i, j, k, here[:, None] & (c < C)[None, :]


@kernel
def _forward(
    attributes,
    faces,
    face,
    barycentric,
    out,
    per_view,
    view_size,
    total,
    C: tl.constexpr,
    LANES: tl.constexpr,
    N: tl.constexpr,
):
    n, c = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N), tl.arange(0, LANES)
    u, v, i, j, k, both = _seen(faces, face, barycentric, n, c, per_view, view_size, total, C)
    mixed = u * tl.load(attributes + i, mask=both, other=0.0) + v * tl.load(
        attributes + j, mask=both, other=0.0
    )
    mixed += (1 - u - v) * tl.load(attributes + k, mask=both, other=0.0)
    tl.store(out + n[:, None] * C + c[None, :], mixed, mask=(n < total)[:, None] & (c < C)[None, :])


@kernel
def _backward(
    attributes,
    faces,
    face,
    barycentric,
    gradient,
    to_attributes,
    to_weights,
    per_view,
    view_size,
    total,
    C: tl.constexpr,
    LANES: tl.constexpr,
    N: tl.constexpr,
):
    n, c = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N), tl.arange(0, LANES)
    u, v, i, j, k, both = _seen(faces, face, barycentric, n, c, per_view, view_size, total, C)
    g = tl.load(gradient + n[:, None] * C + c[None, :], mask=both, other=0.0)
    tl.atomic_add(to_attributes + i, g * u, mask=both, sem="relaxed")
    tl.atomic_add(to_attributes + j, g * v, mask=both, sem="relaxed")
    tl.atomic_add(to_attributes + k, g * (1 - u - v), mask=both, sem="relaxed")
    last = tl.load(attributes + k, mask=both, other=0.0)
    du = tl.sum(g * (tl.load(attributes + i, mask=both, other=0.0) - last), axis=1)
    dv = tl.sum(g * (tl.load(attributes + j, mask=both, other=0.0) - last), axis=1)
    tl.store(to_weights + 2 * n, du, mask=n < total)
    tl.store(to_weights + 2 * n + 1, dv, mask=n < total)


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, attributes: Tensor, barycentric: Tensor, face: Tensor, faces: Tensor) -> Tensor:
        tensors = [tensor.contiguous() for tensor in (attributes, faces, face, barycentric)]
        num_views, num_vertices, channels = attributes.shape
        out = attributes.new_empty(*face.shape, channels)
        # attributes of all views follow each other, or one view's are everybody's
        ctx.sizes = num_vertices if num_views > 1 else 0, face[0].numel(), face.numel()
        ctx.lanes = {"C": channels, "LANES": power_of_two(channels), "N": PIXELS}
        launch(_forward, (blocks(face.numel(), PIXELS),), *tensors, out, *ctx.sizes, **ctx.lanes)
        ctx.save_for_backward(*tensors)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        attributes, _, face, barycentric = ctx.saved_tensors
        grads = torch.zeros_like(attributes), torch.empty_like(barycentric)
        tensors = *ctx.saved_tensors, gradients[0].contiguous(), *grads
        launch(_backward, (blocks(face.numel(), PIXELS),), *tensors, *ctx.sizes, **ctx.lanes)
        return *grads, None, None


def interpolate(
    attributes: Float[Tensor, "V C"] | Float[Tensor, "B V C"], fragments: Fragments, faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "B H W C"]:
    """See ops.raster."""
    batched = attributes[None] if attributes.ndim == 2 else attributes
    return _Interpolate.apply(batched, fragments.barycentric, fragments.face, faces)
