"""A denoiser of pictures of one pixel, whose channels are the coordinates of a point: for toys in the plane.

Perceptron on the point and on sines and cosines of t, with skips; smooth, so that second derivatives exist.
"""

from __future__ import annotations

from diffusers.models.embeddings import get_timestep_embedding
from jaxtyping import Float, Int
from torch import Tensor, nn

from threestudio_like.priors.base import Condition
from threestudio_like.ranges import Count

LEVEL_CHANNELS = 32  # sines and cosines of t


class Denoiser(nn.Module):
    """(x_t, t, condition) -> the raw prediction; a condition is not looked at.

    channels: dimensions of the point. width, depth: of the hidden layers.
    """

    def __init__(self, *, channels: Count, width: Count, depth: Count) -> None:
        super().__init__()
        self.channels, self.multiple = channels, 1
        self.enter = nn.Linear(channels, width)
        self.levels = nn.ModuleList(nn.Linear(LEVEL_CHANNELS, 2 * width) for _ in range(depth))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.leave = nn.Linear(width, channels)

    def forward(
        self, x_t: Float[Tensor, "B C 1 1"], t: Int[Tensor, " B"], condition: Condition
    ) -> Float[Tensor, "B C 1 1"]:
        """Raw prediction."""
        hidden = self.enter(x_t.flatten(1))
        told = get_timestep_embedding(t, LEVEL_CHANNELS).to(hidden.dtype)
        for level, layer in zip(self.levels, self.layers, strict=True):
            scale, shift = level(told).chunk(2, dim=1)
            hidden = hidden + nn.functional.silu(layer(hidden * (1 + scale) + shift))
        return self.leave(hidden).view_as(x_t)
