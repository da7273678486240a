"""Values of any point from the tetrahedron that holds it, linear in each (Shen et al. 2021, section 3.1)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

ROUNDING = 1e-5  # a point whose least weight is not below minus this is in the tetrahedron


class Bins(NamedTuple):
    """A grid over all tetrahedra: bin c is met by members[starts[c] : starts[c] + counts[c]]."""

    low: Float[Tensor, " 3"]
    size: Float[Tensor, " 3"]
    side: int
    starts: Int[Tensor, " C"]
    counts: Int[Tensor, " C"]
    members: Int[Tensor, " M"]


def weights(points: Float[Tensor, "N 3"], corners: Float[Tensor, "N 4 3"]) -> Float[Tensor, "N 4"]:
    """Of the corners, each point's own: they sum to 1 and their mean is the point; negative outside."""
    a, b, c = (corners[:, 1:] - corners[:, :1]).unbind(1)
    arm = points - corners[:, 0]
    normals = torch.stack(
        [torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=1
    )
    rest = (normals * arm[:, None]).sum(-1) / (normals[:, 0] * a).sum(-1, keepdim=True)
    return torch.cat([1 - rest.sum(-1, keepdim=True), rest], dim=-1)


def interpolate(
    points: Float[Tensor, "N 3"],
    values: Float[Tensor, "V C"],
    vertices: Float[Tensor, "V 3"],
    tets: Int[Tensor, "K 4"],
    outside: float,
) -> Float[Tensor, "N C"]:
    """The vertices' values at the points, `outside` where there is no tetrahedron; gradients to all three."""
    owner = locate(points, vertices, tets)
    ids = tets[owner.clamp_min(0)].long()
    inner = (weights(points, vertices[ids])[..., None] * values[ids]).sum(1)
    return torch.where(owner[:, None] < 0, outside, inner)


@torch.no_grad()
def locate(
    points: Float[Tensor, "N 3"], vertices: Float[Tensor, "V 3"], tets: Int[Tensor, "K 4"]
) -> Int[Tensor, " N"]:
    """A tetrahedron that holds each point, -1 for none; where several do, any of them, always the same."""
    bins = _binned(vertices, tets)
    place = ((points - bins.low) / bins.size).floor().long().clamp(0, bins.side - 1)
    bin_ = (place[:, 0] * bins.side + place[:, 1]) * bins.side + place[:, 2]
    starts, counts = bins.starts[bin_], bins.counts[bin_]
    owner = torch.full_like(bin_, -1)
    best = torch.full_like(points[:, 0], -ROUNDING)
    todo = torch.arange(len(points), device=points.device)
    for k in range(int(counts.max()) if len(points) else 0):
        todo = todo[(counts[todo] > k) & (best[todo] < 0)]
        candidate = bins.members[starts[todo] + k]
        least = weights(points[todo], vertices[tets[candidate].long()]).amin(-1)
        better = least > best[todo]
        best[todo[better]], owner[todo[better]] = least[better], candidate[better]
    return owner


def _binned(vertices: Float[Tensor, "V 3"], tets: Int[Tensor, "K 4"]) -> Bins:
    """As many bins a side as a lattice of so many tetrahedra has vertices."""
    side = max(1, round((len(tets) / 6) ** (1 / 3)))
    low, high = vertices.amin(0), vertices.amax(0)
    size = (high - low) / side
    corners = ((vertices - low) / size).floor().long().clamp(0, side - 1)[tets.long()]
    first = corners.amin(1)
    spans = corners.amax(1) - first + 1
    owner = torch.arange(len(tets), device=tets.device).repeat_interleave(spans.prod(-1))
    step = torch.arange(len(owner), device=tets.device)
    step = step - (spans.prod(-1).cumsum(0) - spans.prod(-1))[owner]
    spans, place = spans[owner], first[owner]
    x, y, z = step // (spans[:, 1] * spans[:, 2]), step // spans[:, 2] % spans[:, 1], step % spans[:, 2]
    bin_ = ((place[:, 0] + x) * side + place[:, 1] + y) * side + place[:, 2] + z
    counts = torch.bincount(bin_, minlength=side**3)
    return Bins(low, size, side, counts.cumsum(0) - counts, counts, owner[bin_.sort(stable=True).indices])
