"""The control of lift.py: the same encoder, told the pose as a vector, without any geometry.

What the lift does by resampling a volume along the target's rays, this network must learn to do by itself.
"""

from __future__ import annotations

import torch.nn.functional as F
from diffusers.models.resnet import ResnetBlock2D
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.priors.lift import Encoder
from threestudio_like.priors.unet import BLOCK
from threestudio_like.ranges import Count
from threestudio_like.records import Camera


class Flat(nn.Module):
    """Takes the place of `Lift`, with its arguments but those of the geometry; all blocks hear the vector."""

    def __init__(
        self,
        *,
        channels: Count,
        width: Count,
        groups: Count,
        features: Count,
        depths: Count,
        out_channels: Count,
        vector_channels: Count,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.encoder = Encoder(
            in_channels=channels * BLOCK**2,
            out_channels=features * depths,
            width=width,
            groups=groups,
            vector_channels=vector_channels,
        )
        self.mix = nn.Conv2d(features * depths, width, 3, padding=1)
        self.refine = ResnetBlock2D(in_channels=width, groups=groups, temb_channels=vector_channels)
        self.out = nn.Conv2d(width, out_channels, 3, padding=1)
        self.picture = nn.Conv2d(out_channels, channels * BLOCK**2, 3, padding=1)

    def forward(
        self,
        picture: Float[Tensor, "S C H W"],
        source: Camera,
        target: Camera,
        vector: Float[Tensor, "B V"],
    ) -> Float[Tensor, "B D h w"]:
        """Features on the half-size grid; of the cameras it knows no more than the vector."""
        blocks = F.pixel_unshuffle(picture, BLOCK).expand(len(vector), -1, -1, -1)
        return self.out(F.silu(self.refine(self.mix(self.encoder(blocks, vector)), vector)))

    def regressed(self, features: Float[Tensor, "B D h w"]) -> Float[Tensor, "B C H W"]:
        """The target picture as the features alone tell it: the lift's auxiliary task."""
        return F.pixel_shuffle(self.picture(features), BLOCK)
