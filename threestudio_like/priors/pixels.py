"""Base of the small priors: they denoise pictures as they are, with no encoder.

A picture over white and its alpha, scaled to [-1, 1]: 4 channels, or the first few of them.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from threestudio_like.priors.base import Condition, Prior
from threestudio_like.schedule.prediction import Prediction, eps_from
from threestudio_like.schedule.vp import VP

CHANNELS = 4


@runtime_checkable
class Network(Protocol):
    """(x_t, t, condition) -> a raw prediction of the shape of x_t: unet.Denoiser, points.Denoiser."""

    channels: int
    multiple: int  # what a picture's side must be a multiple of

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The raw prediction."""


class Pixels(Prior):
    """A prior whose space is the picture itself, `size` pixels a side.

    A subclass says what the denoiser is told, and what the denoiser predicts: v, unless it says otherwise.
    """

    prediction: Prediction = "v"

    def __init__(self, *, schedule: VP, size: int, denoiser: Network) -> None:
        super().__init__()
        if size % denoiser.multiple:
            raise ValueError(
                f"size: must be a multiple of {denoiser.multiple}, for this denoiser; not {size}"
            )
        if denoiser.channels > CHANNELS:
            given = denoiser.channels
            raise ValueError(f"denoiser.channels: pictures have {CHANNELS}, or the first few; not {given}")
        self.schedule = schedule
        self.denoiser = denoiser
        self.shape = (denoiser.channels, size, size)

    def described(self) -> dict[str, Any]:
        """What weights were trained for, for their card: other numbers of this make nonsense of them."""
        sigma = (1 - self.schedule.alpha_bar).sqrt()
        some = ", ".join(f"{float(sigma[i]):.3g}" for i in (0, len(sigma) // 2, -1))
        noise = f"{len(sigma)} levels, sigma {some}"
        return {"pixels": self.shape[1], "prediction": self.prediction, "noise": noise}

    def encode(self, image: Float[Tensor, "B H W 4"]) -> Float[Tensor, "B C h w"]:
        """Resized (averaged where it shrinks) and scaled to [-1, 1]."""
        return resized(image.permute(0, 3, 1, 2)[:, : self.shape[0]] * 2 - 1, self.shape[1])

    def decode(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B H W 4"]:
        """Scaled back to [0, 1]; channels that it does not have are 1."""
        image = ((x + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)
        return F.pad(image, (0, CHANNELS - self.shape[0]), value=1.0)

    def predict(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], condition: Condition
    ) -> Float[Tensor, "B C h w"]:
        """eps, from what the network predicts."""
        return eps_from(self.prediction, x_t, self.raw(x_t, t, condition), t, self.schedule)

    def raw(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], condition: Condition
    ) -> Float[Tensor, "B C h w"]:
        """`prediction`, as it is trained: the denoiser's."""
        return self.denoiser(x_t, t, condition)

    def train_condition(self, condition: Condition, u: Float[Tensor, " B"]) -> Condition:
        """The condition with parts of it dropped, for the uniform numbers u: what null() is trained by."""
        raise NotImplementedError


def resized(x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B C h w"]:
    """Squares of `side` pixels, averaged where they shrink."""
    if x.shape[2:] == (side, side):
        return x
    if min(x.shape[2:]) >= side:
        return F.interpolate(x, (side, side), mode="area")
    return F.interpolate(x, (side, side), mode="bilinear", antialias=True)


def without(
    part: Float[Tensor, "B ..."], null: Tensor, dropped: Bool[Tensor, " B"]
) -> Float[Tensor, "B ..."]:
    """`part`, with `null` in the rows that are dropped."""
    return torch.where(dropped.view(-1, *[1] * (part.ndim - 1)), null.to(part.dtype), part)
