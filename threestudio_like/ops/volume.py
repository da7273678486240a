"""Volume rendering as a weighted sum along rays (Max 1995), from densities or from NeuS's signed distances.

w_i = alpha_i T_i with the transmittance T_i = prod_{j<i} (1 - alpha_j); samples run from the eye outward.
They are N rays by S samples, or packed: S samples in all, ray after ray, and which ray each is on.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.ops.dispatch import op

EPS = 1e-5  # of NeuS's own code: an interval deep inside, where both Phi vanish, is opaque rather than 0 / 0


@op
def weights_from_alpha(alpha: Float[Tensor, "N S"]) -> Float[Tensor, "N S"]:
    """Weights of samples of the given opacities."""
    through = 1 - alpha + 1e-10  # never 0, so that the gradient of a product is its sum over one factor
    return alpha * F.pad(torch.cumprod(through, dim=-1)[:, :-1], (1, 0), value=1.0)


@op
def weights_from_density(density: Float[Tensor, "N S"], delta: Float[Tensor, "N S"]) -> Float[Tensor, "N S"]:
    """Weights of intervals of lengths `delta`; they sum to 1 - exp(-sum density delta)."""
    tau = density * delta
    before = F.pad(torch.cumsum(tau, dim=-1)[:, :-1], (1, 0))
    return torch.exp(-before) * -torch.expm1(-tau)


def neus_alpha(
    sdf: Float[Tensor, "*S"],
    cosine: Float[Tensor, "*S"],
    delta: Float[Tensor, "*S"],
    inv_std: Float[Tensor, ""],
) -> Float[Tensor, "*S"]:
    """Opacity of intervals around samples (Wang et al. 2021, eq. 13).

    `cosine` is of the ray and the field's gradient, at most 0: annealed by the caller, who knows the step.
    The distances at both ends are `sdf` continued along it.
    """
    half = 0.5 * cosine * delta
    entering = torch.sigmoid(inv_std * (sdf - half))
    leaving = torch.sigmoid(inv_std * (sdf + half))
    return ((entering - leaving + EPS) / (entering + EPS)).clamp(0, 1)


@op
def composite(weights: Float[Tensor, "N S"], values: Float[Tensor, "N S C"]) -> Float[Tensor, "N C"]:
    """The weighted sum along each ray."""
    return torch.einsum("ns,nsc->nc", weights, values)


@op
def packed_weights_from_alpha(
    alpha: Float[Tensor, " S"], ray: Int[Tensor, " S"], num_rays: int
) -> Float[Tensor, " S"]:
    """As `weights_from_alpha`, of packed samples."""
    place = _places(ray, num_rays)
    return weights_from_alpha(_padded(alpha, ray, place, num_rays))[ray, place]


@op
def packed_weights_from_density(
    density: Float[Tensor, " S"], delta: Float[Tensor, " S"], ray: Int[Tensor, " S"], num_rays: int
) -> Float[Tensor, " S"]:
    """As `weights_from_density`, of packed samples."""
    place = _places(ray, num_rays)
    rows = (_padded(values, ray, place, num_rays) for values in (density, delta))
    return weights_from_density(*rows)[ray, place]


@op
def packed_sum(
    weights: Float[Tensor, " S"], values: Float[Tensor, "S C"], ray: Int[Tensor, " S"], num_rays: int
) -> Float[Tensor, "N C"]:
    """The weighted sum along each ray, 0 where it has no samples."""
    return values.new_zeros(num_rays, values.shape[1]).index_add(0, ray, weights[:, None] * values)


def _places(ray: Int[Tensor, " S"], num_rays: int) -> Int[Tensor, " S"]:
    """How many samples each one has before it on its ray."""
    counts = torch.bincount(ray, minlength=num_rays)
    return torch.arange(len(ray), device=ray.device) - (counts.cumsum(0) - counts)[ray]


def _padded(
    values: Float[Tensor, " S"], ray: Int[Tensor, " S"], place: Int[Tensor, " S"], num_rays: int
) -> Float[Tensor, "N P"]:
    """One row for each ray, with 0 after its last sample."""
    longest = int(place.max()) + 1 if len(place) else 1
    return values.new_zeros(num_rays, longest).index_put((ray, place), values)
