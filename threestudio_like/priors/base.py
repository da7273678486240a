"""The Prior protocol: a network that knows images, behind one door.

Whatever a family does inside (eps, v, x0 or score; pixels or latents; its own pose vector), outside it
takes the house's pictures and cameras and predicts the noise. A prior does not know that it guides.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn

from threestudio_like.records import Camera, View
from threestudio_like.schedule.vp import VP


class Condition(NamedTuple):
    """What a denoiser is told beside x_t; fields it does not use are None. All are batch first."""

    tokens: Float[Tensor, "B L D"] | None = None  # for cross-attention
    vector: Float[Tensor, "B D"] | None = None  # joins the time embedding: pose or camera
    image: Float[Tensor, "B D h w"] | None = None  # joined to x_t as channels


class Prior(nn.Module):
    """Base of every prior.

    schedule: the noise it was trained with.
    shape: (C, h, w) of the space it denoises in, without the batch.
    """

    schedule: VP
    shape: tuple[int, int, int]

    def encode(self, image: Float[Tensor, "B H W 4"]) -> Float[Tensor, "B C h w"]:
        """Pictures over white with their alpha (`Render.rgba`, `View.rgba`), any size, into its space."""
        raise NotImplementedError

    def decode(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B H W 4"]:
        """Back to pictures over white with alpha (alpha = 1 where the family knows none), in [0, 1]."""
        raise NotImplementedError

    def condition(self, prompts: list[str], camera: Camera, reference: View | None) -> Condition:
        """What to tell the denoiser to see `prompts` (B of them) from `camera`, given a picture (or none).

        A reference of one view is used for all B cameras.
        """
        raise NotImplementedError

    def null(self, condition: Condition) -> Condition:
        """The unconditional counterpart of `condition`, for classifier-free guidance."""
        raise NotImplementedError

    def predict(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], condition: Condition
    ) -> Float[Tensor, "B C h w"]:
        """The noise eps in x_t = sqrt(alpha_bar) x + sqrt(1 - alpha_bar) eps."""
        raise NotImplementedError
