"""What a good volume-rendered surface looks like, whatever it shows (DreamCraft3D's regularisers)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.losses.image import smoothness
from threestudio_like.records import Samples


def eikonal(samples: Samples) -> Float[Tensor, ""]:
    """Mean (|grad f| - 1)^2 (Gropp et al. 2020, eq. 2): the field is a distance; 0 if nothing was sampled."""
    error = (torch.linalg.vector_norm(samples.gradients, dim=-1) - 1).square()
    return error.sum() / max(len(error), 1)


def orientation(samples: Samples) -> Float[Tensor, ""]:
    """Sum of w max(0, n.d)^2 over the rays that met something (Ref-NeRF, Verbin et al. 2022, eq. 11).

    Weights are constants here: a surface shall turn, not vanish.
    """
    facing = (F.normalize(samples.gradients, dim=-1) * samples.directions).sum(-1)
    num_rays = torch.unique_consecutive(samples.rays).numel()
    return (samples.weights.detach() * facing.clamp_min(0).square()).sum() / max(num_rays, 1)


def sparsity(alpha: Float[Tensor, "B H W 1"]) -> Float[Tensor, ""]:
    """Mean sqrt(alpha^2 + 0.01): less is better (DreamFusion, Poole et al. 2022, appendix A)."""
    return torch.sqrt(alpha.square() + 0.01).mean()


def emptiness(weights: Float[Tensor, " S"], num_rays: int) -> Float[Tensor, ""]:
    """Sum of log(1 + 10 w) over samples, mean over rays (SJC, Wang et al. 2022, section 4.3).

    Many faint samples cost more than one of their sum, so fog is driven out. SJC's is a mean over samples.
    """
    return torch.log1p(10 * weights).sum() / num_rays


def opacity_entropy(alpha: Float[Tensor, "B H W 1"]) -> Float[Tensor, ""]:
    """Mean entropy of alpha in nats: a pixel is either full or empty."""
    kept = alpha.clamp(1e-3, 1 - 1e-3)
    return -(kept * kept.log() + (1 - kept) * (1 - kept).log()).mean()


def solid_smoothness(normals: Float[Tensor, "S 3"], beside: Float[Tensor, "S 3"]) -> Float[Tensor, ""]:
    """Mean absolute difference of the normals at points and at others a little beside; 0 if there are none.

    In space rather than in a picture: surfaces seen at a slant count as others do.
    """
    difference = (normals - beside).abs()
    return difference.sum() / max(difference.numel(), 1)


def normal_smoothness(normal: Float[Tensor, "B H W 3"]) -> Float[Tensor, ""]:
    """Mean squared step between neighbouring normals, as colours (n + 1) / 2, within the object.

    The official loss also counts the step at the silhouette, which pulls outlines inward.
    """
    inside = (normal.detach().square().sum(-1, keepdim=True) > 0.25).to(normal.dtype)
    return smoothness(normal / 2, inside)
