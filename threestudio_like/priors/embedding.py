"""Pictures and words in one space (CLIP, Radford et al. 2021), small: a picture lies near the words for it.

Embeddings are of length 1. Pictures are shown over white, with their alpha; words go through text.py.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.priors.sentence import Frozen
from threestudio_like.priors.text import Text
from threestudio_like.priors.unet import autocast
from threestudio_like.priors.weights import load
from threestudio_like.ranges import Count, Positive, Side

CHANNELS = 4
MAX_SCALE = 100.0  # CLIP's bound of 1 / temperature


class Embedding(nn.Module):
    """Two encoders and the temperature that they were trained at.

    size: pixels a side that a picture is brought to. widths: channels of each level, half as large each.
    channels: of an embedding. text_channels: of `text`'s tokens.
    temperature: at the start of training; learnt.
    weights: a name in bundled/ or a file; null for new encoders.
    """

    def __init__(
        self,
        *,
        size: Side,
        widths: list[Count],
        groups: Count,
        channels: Count,
        text: Text | Frozen,
        text_channels: Count,
        temperature: Positive,
        weights: str | None,
    ) -> None:
        super().__init__()
        self.size = size
        pairs = zip([CHANNELS, *widths[:-1]], widths, strict=True)
        self.levels = nn.Sequential(*[_level(inner, outer, groups) for inner, outer in pairs])
        self.picture_head = nn.Linear(2 * widths[-1], channels)
        self.text = text
        self.text_head = nn.Sequential(
            nn.Linear(text_channels, text_channels), nn.GELU(), nn.Linear(text_channels, channels)
        )
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        if weights is not None:
            load(self, weights)

    @property
    def scale(self) -> Float[Tensor, ""]:
        """1 / temperature."""
        return self.log_scale.exp().clamp(max=MAX_SCALE)

    def pictures(self, image: Float[Tensor, "B H W 4"]) -> Float[Tensor, "B D"]:
        """Of pictures over white with their alpha, any size."""
        x = image.permute(0, 3, 1, 2) * 2 - 1
        if x.shape[2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        with autocast(x.device):
            x = self.levels(x)
        x = x.float()
        pooled = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=-1)
        return F.normalize(self.picture_head(pooled), dim=-1)

    def words(self, prompts: list[str]) -> Float[Tensor, "B D"]:
        """Of prompts."""
        return F.normalize(self.text_head(self.text(prompts).mean(dim=1)), dim=-1)


def _level(inner: int, outer: int, groups: int) -> nn.Sequential:
    """Two convolutions, then half the size."""
    return nn.Sequential(
        nn.Conv2d(inner, outer, 3, padding=1),
        nn.GroupNorm(groups, outer),
        nn.SiLU(),
        nn.Conv2d(outer, outer, 3, padding=1),
        nn.GroupNorm(groups, outer),
        nn.SiLU(),
        nn.AvgPool2d(2),
    )
