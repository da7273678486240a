"""rasterize, interpolate and antialias by nvdiffrast (Laine et al. 2020), where `ops.backend` asks for it.

As here: clip space, row 0 of a picture at clip y = -1, weights of vertices 0 and 1, z / w, and who has
gradients. Otherwise there: vertices are snapped to parts of a pixel before coverage is decided, so pixels
whose centres are that near to an edge may show another face, and depth is compared in whole numbers;
antialias looks at the edges of a pixel's own face alone, not at those behind thin faces; faces are numbered
in float32, from 1.
"""

from __future__ import annotations

import functools
from typing import Any

import nvdiffrast.torch as dr
import torch
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.ops.raster import Fragments

MAX_FACES = 1 << 24  # more are numbered by bits that are no whole number in float32


@functools.cache
def _context(device: torch.device) -> Any:
    return dr.RasterizeCudaContext(device)


def _triangles(faces: Int[Tensor, "F 3"]) -> Int[Tensor, "F 3"]:
    if len(faces) >= MAX_FACES:
        raise ValueError(f"nvdiffrast: {len(faces)} faces; this adapter takes fewer than {MAX_FACES}")
    return faces.int().contiguous()


def _rast(fragments: Fragments) -> Float[Tensor, "B H W 4"]:
    """As nvdiffrast keeps it: u, v, z / w, and the face's number from 1."""
    number = (fragments.face + 1).to(fragments.depth)[..., None]
    return torch.cat([fragments.barycentric, fragments.depth, number], dim=-1).contiguous()


def rasterize(
    positions: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], height: int, width: int
) -> Fragments:
    """See ops.raster."""
    context = _context(positions.device)
    triangles = _triangles(faces)
    rast, _ = dr.rasterize(context, positions.contiguous(), triangles, (height, width), grad_db=False)
    barycentric, depth, number = rast.split([2, 1, 1], dim=-1)
    return Fragments(barycentric, depth.detach(), number.detach()[..., 0].long() - 1)


def interpolate(
    attributes: Float[Tensor, "V C"] | Float[Tensor, "B V C"], fragments: Fragments, faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "B H W C"]:
    """See ops.raster."""
    batched = attributes[None] if attributes.ndim == 2 else attributes
    return dr.interpolate(batched.contiguous(), _rast(fragments), _triangles(faces))[0]


def antialias(
    image: Float[Tensor, "B H W C"],
    fragments: Fragments,
    positions: Float[Tensor, "B V 4"],
    faces: Int[Tensor, "F 3"],
) -> Float[Tensor, "B H W C"]:
    """See ops.raster."""
    return dr.antialias(
        image.contiguous(), _rast(fragments).detach(), positions.contiguous(), _triangles(faces)
    )
