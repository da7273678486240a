"""The exact noise prediction for data whose distribution is known: what a perfect network would say.

For x_0 ~ N(m, s^2), x_t ~ N(sqrt(alpha_bar) m, alpha_bar s^2 + 1 - alpha_bar), and
E[eps | x_t] = sqrt(1 - alpha_bar) (x_t - sqrt(alpha_bar) m) / (alpha_bar s^2 + 1 - alpha_bar).
With noise that is only added, x_0 + sigma z, the score is that of N(m, s^2 + sigma^2).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.schedule.vp import VP


def gaussian_eps(
    x_t: Float[Tensor, "B ..."],
    t: Int[Tensor, " B"],
    schedule: VP,
    mean: Float[Tensor, ...],
    std: float,
) -> Float[Tensor, "B ..."]:
    """eps for independent Gaussian data; `mean` broadcasts against x_t."""
    alpha, sigma = schedule.coefficients(t, x_t)
    return sigma * (x_t - alpha * mean) / (alpha**2 * std**2 + sigma**2)


def mixture_eps(
    x_t: Float[Tensor, "B ..."],
    t: Int[Tensor, " B"],
    schedule: VP,
    means: Float[Tensor, "K ..."],
    std: float,
    weights: Float[Tensor, " K"],
) -> Float[Tensor, "B ..."]:
    """eps for a mixture of K Gaussians of one spread: theirs, weighed by how likely each made x_t."""
    alpha, sigma = schedule.coefficients(t, x_t.flatten(1)[:, None])  # B 1 1
    spread = alpha**2 * std**2 + sigma**2
    away = x_t.flatten(1)[:, None] - alpha * means.flatten(1)  # B K D
    likelihood = -0.5 * away.square().sum(-1) / spread[..., 0]
    believed = torch.softmax(likelihood + weights.log(), dim=1)
    found = torch.einsum("bk,bkd->bd", believed, away)[:, None]
    return (sigma * found / spread).view_as(x_t)


def gaussian_score(
    x: Float[Tensor, "B ..."], sigma: Float[Tensor, ...], mean: Float[Tensor, ...], std: float
) -> Float[Tensor, "B ..."]:
    """grad log of Gaussian data with noise sigma added; `mean` and `sigma` broadcast against x."""
    return (mean - x) / (std**2 + sigma**2)


def mixture_score(
    x: Float[Tensor, "B D"],
    sigma: Float[Tensor, "B 1"],
    means: Float[Tensor, "K D"],
    std: float,
    weights: Float[Tensor, " K"],
) -> Float[Tensor, "B D"]:
    """grad log of a mixture of K Gaussians of one spread, with noise sigma added."""
    spread = (std**2 + sigma**2)[:, None]  # B 1 1
    away = means - x[:, None]  # B K D
    likelihood = -0.5 * away.square().sum(-1) / spread[..., 0]
    believed = torch.softmax(likelihood + weights.log(), dim=1)
    return torch.einsum("bk,bkd->bd", believed, away / spread)
