"""The field that Gaussians make in space: sum_i o_i exp(-d^T S_i^-1 d / 2) (Tang et al. 2024, section 3.2).

Those below 1/255 at a point count as nothing there, as in pictures.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.ops.splat import MIN_ALPHA, rotation_matrices
from threestudio_like.records import Ellipsoids

LEAF = 512  # points at most that are compared with all Gaussians around them at once


def field(
    points: Float[Tensor, "P 3"], cloud: Ellipsoids, values: Float[Tensor, "N C"]
) -> tuple[Float[Tensor, " P"], Float[Tensor, "P C"]]:
    """(density, sums of the values by density) at points; without gradients.

    Points are halved along the longest side of their box until they are few, or have no Gaussian around.
    """
    with torch.no_grad():
        kept = torch.nonzero(cloud.opacities >= MIN_ALPHA)[:, 0]
        means, scales, quaternions, opacities = (part[kept] for part in cloud)
        axes = rotation_matrices(quaternions) * scales[:, None]
        reach = torch.sqrt(2 * torch.log(opacities / MIN_ALPHA))[:, None]
        half = reach * torch.linalg.vector_norm(axes, dim=-1)
        low, high = means - half, means + half
        whiten = rotation_matrices(quaternions).mT / scales[..., None]
        found = points.new_zeros(len(points), 1 + values.shape[-1])
        weighed = torch.cat([torch.ones_like(opacities)[:, None], values[kept]], dim=-1)
        todo: list[tuple[Int[Tensor, " p"], Int[Tensor, " n"]]] = [
            (torch.arange(len(points), device=points.device), torch.arange(len(kept), device=points.device))
        ]
        while todo:
            place, near = todo.pop()
            some = points[place]
            if len(place) == 0 or len(near) == 0:
                continue
            near = near[((low[near] <= some.amax(0)) & (high[near] >= some.amin(0))).all(-1)]
            if len(place) > LEAF:
                todo += [(half_of, near) for half_of in _halves(some, place)]
                continue
            away = torch.einsum("nij,pnj->pni", whiten[near], some[:, None] - means[near])
            density = opacities[near] * torch.exp(-0.5 * away.square().sum(-1))
            found[place] = torch.where(density >= MIN_ALPHA, density, 0.0) @ weighed[near]
    return found[:, 0], found[:, 1:]


def _halves(points: Float[Tensor, "P 3"], place: Int[Tensor, " P"]) -> tuple[Int[Tensor, " p"], ...]:
    """As many points on either side, along the longest side of their box."""
    axis = int((points.amax(0) - points.amin(0)).argmax())
    order = torch.argsort(points[:, axis], stable=True)
    return place[order[: len(order) // 2]], place[order[len(order) // 2 :]]


def spacing(points: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
    """Root of the mean squared distance to the three nearest others (Kerbl et al. 2023, section 5.1)."""
    if len(points) < 2:
        raise ValueError("spacing: a single point has no neighbours")
    found = torch.empty_like(points[:, 0])
    todo = [torch.arange(len(points), device=points.device)]
    while todo:
        place = todo.pop()
        own = points[place]
        if len(place) > LEAF:
            todo += _halves(own, place)
            continue
        reach = _nearest(own, own).amax()  # the neighbours may be elsewhere, but no further
        around = ((points >= own.amin(0) - reach) & (points <= own.amax(0) + reach)).all(-1)
        found[place] = _nearest(own, points[around]).square().mean(-1).sqrt()
    return found


def _nearest(points: Float[Tensor, "N 3"], others: Float[Tensor, "M 3"]) -> Float[Tensor, "N K"]:
    """Distances to the three (or, of few, all) nearest, without the point itself, which is among them."""
    exact = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(points, others, compute_mode=exact)
    return distances.topk(min(4, len(others)), largest=False).values[:, 1:]


def ball_spacing(count: int, radius: float) -> float:
    """What `spacing` expects of `count` points spread evenly over a ball.

    The k-th neighbour's squared distance is Gamma(k + 2/3) / Gamma(k) (radius^3 / count)^(2/3) in the mean.
    """
    squares = [math.gamma(k + 2 / 3) / math.gamma(k) for k in (1, 2, 3)]
    return radius * math.sqrt(sum(squares) / 3) / count ** (1 / 3)
