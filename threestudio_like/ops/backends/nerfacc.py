"""Compositing along packed rays by nerfacc (Li et al. 2023), where `ops.backend` asks for it.

As here: samples ray after ray, and a number for each of its ray. Otherwise there: 1 - exp(-tau) is taken at
its word, so thin samples lose digits; the gradient to an opacity divides by what it lets through, so it is
wrong at an opacity of 1. Its march is not taken: it cuts rays where they cross cells, not into the intervals
that `march_occupied` promises; nor are rows of samples, which are plain torch there.
"""

from __future__ import annotations

import nerfacc
import torch
from jaxtyping import Float, Int
from torch import Tensor


def packed_weights_from_alpha(
    alpha: Float[Tensor, " S"], ray: Int[Tensor, " S"], num_rays: int
) -> Float[Tensor, " S"]:
    """See ops.volume."""
    return nerfacc.render_weight_from_alpha(alpha, ray_indices=ray, n_rays=num_rays)[0]


def packed_weights_from_density(
    density: Float[Tensor, " S"], delta: Float[Tensor, " S"], ray: Int[Tensor, " S"], num_rays: int
) -> Float[Tensor, " S"]:
    """See ops.volume."""
    start = torch.zeros_like(delta)
    return nerfacc.render_weight_from_density(start, delta, density, ray_indices=ray, n_rays=num_rays)[0]


def packed_sum(
    weights: Float[Tensor, " S"], values: Float[Tensor, "S C"], ray: Int[Tensor, " S"], num_rays: int
) -> Float[Tensor, "N C"]:
    """See ops.volume."""
    return nerfacc.accumulate_along_rays(weights, values, ray_indices=ray, n_rays=num_rays)
