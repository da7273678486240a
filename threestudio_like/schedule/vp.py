"""Variance-preserving noise: x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps (Ho et al. 2020, eq. 4).

`t` counts from 0 to num_steps - 1; a level t/num_steps in [0, 1) is what users write.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from threestudio_like.ranges import Count, Fraction, NonNegative, Positive


def linear(num_steps: Count, start: Fraction, end: Fraction) -> Float[Tensor, " T"]:
    """Betas of DDPM: evenly spaced."""
    return torch.linspace(start, end, num_steps, dtype=torch.float64)


def scaled_linear(num_steps: Count, start: Fraction, end: Fraction) -> Float[Tensor, " T"]:
    """Betas of Stable Diffusion: evenly spaced roots, squared."""
    return torch.linspace(math.sqrt(start), math.sqrt(end), num_steps, dtype=torch.float64) ** 2


def cosine(num_steps: Count, offset: NonNegative) -> Float[Tensor, " T"]:
    """Betas whose alpha_bar falls as cos^2 (Nichol and Dhariwal 2021, eq. 17), clipped at 0.999."""
    steps = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
    alpha_bar = torch.cos((steps + offset) / (1 + offset) * math.pi / 2) ** 2
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999)


def rectified(num_steps: Count, shift: Positive) -> Float[Tensor, " T"]:
    """Betas of straight paths (1 - s) x_0 + s eps, scaled to keep the variance (Esser et al. 2024, eq. 13).

    s goes from 0 to 1 in even steps u, each counted in its middle, as s = shift u / (1 + (shift - 1) u)
    (eq. 23): large pictures need more noise.
    """
    u = (torch.arange(num_steps, dtype=torch.float64) + 0.5) / num_steps
    s = shift * u / (1 + (shift - 1) * u)
    alpha_bar = (1 - s) ** 2 / ((1 - s) ** 2 + s**2)
    return 1 - alpha_bar / torch.cat([torch.ones_like(u[:1]), alpha_bar[:-1]])


class VP(nn.Module):
    """The table of alpha_bar, and the conversions between the four things a network may predict."""

    alpha_bar: Float[Tensor, " T"]

    def __init__(self, *, betas: Float[Tensor, " T"]) -> None:
        super().__init__()
        alpha_bar = torch.cumprod(1 - betas.double(), dim=0)
        self.register_buffer("alpha_bar", alpha_bar.float(), persistent=False)

    @property
    def num_steps(self) -> int:
        """T, the number of noise levels."""
        return self.alpha_bar.shape[0]

    def coefficients(self, t: Int[Tensor, " B"], like: Float[Tensor, "B ..."]) -> tuple[Tensor, Tensor]:
        """(sqrt(alpha_bar_t), sqrt(1 - alpha_bar_t)), shaped to multiply `like`."""
        alpha_bar = self.alpha_bar[t].to(like.dtype).view(-1, *[1] * (like.ndim - 1))
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def noised(
        self, x: Float[Tensor, "B ..."], eps: Float[Tensor, "B ..."], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B ..."]:
        """x_t."""
        alpha, sigma = self.coefficients(t, x)
        return alpha * x + sigma * eps

    def x0_from_eps(self, x_t: Tensor, eps: Tensor, t: Int[Tensor, " B"]) -> Tensor:
        """The picture that x_t would be, were eps its noise."""
        alpha, sigma = self.coefficients(t, x_t)
        return (x_t - sigma * eps) / alpha

    def eps_from_x0(self, x_t: Tensor, x0: Tensor, t: Int[Tensor, " B"]) -> Tensor:
        """The noise in x_t, were x0 its picture."""
        alpha, sigma = self.coefficients(t, x_t)
        return (x_t - alpha * x0) / sigma

    def v(self, x: Tensor, eps: Tensor, t: Int[Tensor, " B"]) -> Tensor:
        """v = alpha eps - sigma x (Salimans and Ho 2022, appendix D)."""
        alpha, sigma = self.coefficients(t, x)
        return alpha * eps - sigma * x

    def eps_from_v(self, x_t: Tensor, v: Tensor, t: Int[Tensor, " B"]) -> Tensor:
        """eps = sigma x_t + alpha v."""
        alpha, sigma = self.coefficients(t, x_t)
        return sigma * x_t + alpha * v

    def x0_from_v(self, x_t: Tensor, v: Tensor, t: Int[Tensor, " B"]) -> Tensor:
        """x_0 = alpha x_t - sigma v."""
        alpha, sigma = self.coefficients(t, x_t)
        return alpha * x_t - sigma * v

    def score_from_eps(self, eps: Tensor, t: Int[Tensor, " B"]) -> Tensor:
        """grad log p_t(x_t) = -eps / sigma."""
        return -eps / self.coefficients(t, eps)[1]
