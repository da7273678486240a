"""The small denoiser: a diffusers U-Net on blocks of pixels, and convolutions on whole pixels after it.

The U-Net works on 2x2 blocks of pixels; alone it would leave their grid in the picture, so the last two
convolutions see whole pixels, and x_t itself.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel, UNet2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.models.embeddings import get_timestep_embedding
from jaxtyping import Float, Int
from torch import Tensor, nn

from threestudio_like.priors.base import Condition
from threestudio_like.ranges import Count, Whole

BLOCK = 2  # pixels on a side of what the U-Net takes for one
LEVEL_CHANNELS = 32  # sines and cosines of t


class Gain(nn.Linear):
    """A number for each channel at each level t, zero at first."""

    def __init__(self, channels: Count) -> None:
        super().__init__(LEVEL_CHANNELS, channels)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, t: Int[Tensor, " B"]) -> Float[Tensor, "B C 1 1"]:
        """To multiply pictures by."""
        return super().forward(get_timestep_embedding(t, LEVEL_CHANNELS))[..., None, None]


class Denoiser(nn.Module):
    """(x_t, t, condition) -> the raw prediction; what that means is its prior's business.

    channels: of the picture.
    image_channels: of `condition.image`, which lies on the U-Net's own grid (half the picture's size).
    token_channels: of `condition.tokens`; null for a U-Net without cross-attention.
    widths: one for each level; all levels but the first have attention.
    """

    def __init__(
        self,
        *,
        channels: Count,
        image_channels: Whole,
        token_channels: Count | None,
        widths: list[Count],
        blocks: Count,
        head_channels: Count,
        groups: Count,
        tail_channels: Whole,
    ) -> None:
        super().__init__()
        self.unet: Any = unet(
            in_channels=channels * BLOCK**2 + image_channels,
            out_channels=tail_channels * BLOCK**2,
            token_channels=token_channels,
            widths=widths,
            blocks=blocks,
            head_channels=head_channels,
            groups=groups,
        )
        self.tail = nn.Sequential(
            nn.Conv2d(tail_channels + channels, 2 * tail_channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * tail_channels, channels, 3, padding=1),
        )
        # at low noise v is almost x_t, pixel by pixel: a gain for each level learns that quickest
        self.gain = Gain(channels)
        self.channels, self.image_channels = channels, image_channels
        self.multiple = BLOCK * 2 ** (len(widths) - 1)
        self.takes_tokens = token_channels is not None
        self.vector_channels = 4 * widths[0]  # diffusers' time embedding

    def forward(
        self, x_t: Float[Tensor, "B C H W"], t: Int[Tensor, " B"], condition: Condition
    ) -> Float[Tensor, "B C H W"]:
        """Raw prediction. `condition.vector` is added to the time embedding; none counts as zero."""
        with autocast(x_t.device):
            parts = [F.pixel_unshuffle(x_t, BLOCK)]
            if condition.image is not None:
                parts.append(condition.image)
            vector = condition.vector
            if vector is None:
                vector = x_t.new_zeros(len(x_t), self.vector_channels)
            extra = {"encoder_hidden_states": condition.tokens} if self.takes_tokens else {}
            coarse = self.unet(torch.cat(parts, 1), t, class_labels=vector, return_dict=False, **extra)[0]
            raw = self.tail(torch.cat([F.pixel_shuffle(coarse, BLOCK), x_t.to(coarse.dtype)], 1))
        return raw.float() + self.gain(t) * x_t


def unet(
    *,
    in_channels: int,
    out_channels: int,
    token_channels: int | None,
    widths: list[int],
    blocks: int,
    head_channels: int,
    groups: int,
) -> nn.Module:
    """One of diffusers' two, without or with cross-attention; `class_labels` join the time embedding."""
    common = {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "block_out_channels": tuple(widths),
        "layers_per_block": blocks,
        "norm_num_groups": groups,
        "resnet_time_scale_shift": "scale_shift",
        "class_embed_type": "identity",
    }
    deep = len(widths) - 1
    if token_channels is None:
        made: Any = UNet2DModel(
            **common,
            attention_head_dim=head_channels,
            down_block_types=("DownBlock2D", *["AttnDownBlock2D"] * deep),
            up_block_types=(*["AttnUpBlock2D"] * deep, "UpBlock2D"),
        )
    else:
        made = UNet2DConditionModel(
            **common,
            cross_attention_dim=token_channels,
            attention_head_dim=tuple(width // head_channels for width in widths),  # diffusers means heads
            down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * deep),
            up_block_types=(*["CrossAttnUpBlock2D"] * deep, "UpBlock2D"),
        )
    for module in made.modules():
        if isinstance(module, Attention):  # few places: the plain form trains faster than the fused one
            module.set_processor(AttnProcessor())
    return made


def autocast(device: torch.device, cached: bool = True) -> torch.autocast:
    """bfloat16 where the hardware multiplies it.

    cached: keep weights' half copies while it lasts: of use to what is asked more than once.
    """
    enabled = multiplies_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=cached)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware has instructions for it; without them it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
