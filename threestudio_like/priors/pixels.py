"""Base of the small priors: they denoise 4-channel pictures, with no encoder, and predict v.

A picture over white and its alpha, scaled to [-1, 1]; v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from threestudio_like.priors.base import Condition, Prior
from threestudio_like.priors.unet import Denoiser
from threestudio_like.schedule.vp import VP

CHANNELS = 4


class Pixels(Prior):
    """A prior whose space is the picture itself, `size` pixels a side.

    A subclass says what the denoiser is told.
    """

    def __init__(self, *, schedule: VP, size: int, denoiser: Denoiser) -> None:
        super().__init__()
        self.schedule = schedule
        self.denoiser = denoiser
        self.shape = (CHANNELS, size, size)

    def encode(self, image: Float[Tensor, "B H W 4"]) -> Float[Tensor, "B C h w"]:
        """Resized (averaged where it shrinks) and scaled to [-1, 1]."""
        x = image.permute(0, 3, 1, 2) * 2 - 1
        if x.shape[2:] == self.shape[1:]:
            return x
        if min(x.shape[2:]) >= self.shape[1]:
            return F.interpolate(x, self.shape[1:], mode="area")
        return F.interpolate(x, self.shape[1:], mode="bilinear", antialias=True)

    def decode(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B H W 4"]:
        """Scaled back to [0, 1]."""
        return ((x + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)

    def predict(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], condition: Condition
    ) -> Float[Tensor, "B C h w"]:
        """eps, from the v that the network predicts."""
        return self.schedule.eps_from_v(x_t, self.denoiser(x_t, t, condition), t)

    def train_condition(self, condition: Condition, u: Float[Tensor, " B"]) -> Condition:
        """The condition with parts of it dropped, for the uniform numbers u: what null() is trained by."""
        raise NotImplementedError


def without(
    part: Float[Tensor, "B ..."], null: Tensor, dropped: Bool[Tensor, " B"]
) -> Float[Tensor, "B ..."]:
    """`part`, with `null` in the rows that are dropped."""
    return torch.where(dropped.view(-1, *[1] * (part.ndim - 1)), null.to(part.dtype), part)
