"""What a network says about x_t: its noise eps, its picture x0, or v (Salimans and Ho 2022, appendix D).

The three tell the same; they differ in what the squared error weighs. Min-SNR (Hang et al. 2023, eq. 8)
weighs the error of x_0 by min(SNR, gamma), whichever of them is predicted; SNR = alpha_bar / (1 - alpha_bar).
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.schedule.vp import VP

Prediction = Literal["eps", "v", "x0"]


def target(
    prediction: Prediction,
    x: Float[Tensor, "B ..."],
    eps: Float[Tensor, "B ..."],
    t: Int[Tensor, " B"],
    schedule: VP,
) -> Float[Tensor, "B ..."]:
    """What a perfect network would answer where x_t is made of x and eps."""
    if prediction == "v":
        return schedule.v(x, eps, t)
    return eps if prediction == "eps" else x


def eps_from(
    prediction: Prediction,
    x_t: Float[Tensor, "B ..."],
    raw: Float[Tensor, "B ..."],
    t: Int[Tensor, " B"],
    schedule: VP,
) -> Float[Tensor, "B ..."]:
    """The noise in x_t, by a network's answer."""
    if prediction == "v":
        return schedule.eps_from_v(x_t, raw, t)
    return raw if prediction == "eps" else schedule.eps_from_x0(x_t, raw, t)


def min_snr(prediction: Prediction, t: Int[Tensor, " B"], schedule: VP, gamma: float) -> Float[Tensor, " B"]:
    """Factors on the squared errors of `prediction`, by which the error of x_0 counts min(SNR, gamma)."""
    alpha_bar = schedule.alpha_bar[t].double()
    snr = alpha_bar / (1 - alpha_bar)
    # |v - v'|^2 = (SNR + 1) |x - x'|^2 and |eps - eps'|^2 = SNR |x - x'|^2
    per_square = {"x0": torch.ones_like(snr), "eps": snr, "v": snr + 1}[prediction]
    return (snr.clamp(max=gamma) / per_square).float()
