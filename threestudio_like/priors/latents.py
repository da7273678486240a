"""Base of the published priors that denoise the latents of an autoencoder (Rombach et al. 2022)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.priors.base import Condition, Prior
from threestudio_like.priors.pixels import CHANNELS, resized
from threestudio_like.priors.published import Precision
from threestudio_like.priors.residency import Residency, housed
from threestudio_like.priors.unet import autocast
from threestudio_like.schedule.prediction import Prediction, eps_from
from threestudio_like.schedule.vp import VP


class Latents(Prior):
    """A U-Net and an autoencoder of diffusers; alpha is not known to them.

    size: pixels a side of the pictures that it was trained with.
    prediction: what the U-Net says: eps, v or x0.
    precision: of the frozen weights. A copy of the U-Net in float32, which learns, computes in bfloat16 where
        the hardware does: its gradients would vanish in float16, which no scaler guards here.
    residency: where the frozen U-Net's weights live and how it runs; null for on the device, as it is.
    """

    def __init__(
        self,
        *,
        schedule: VP,
        size: int,
        unet: Any,
        vae: Any,
        prediction: Prediction,
        precision: Precision,
        residency: Residency | None,
    ) -> None:
        super().__init__()
        self.schedule, self.prediction, self.precision = schedule, prediction, precision
        self.unet = housed(frozen(unet, getattr(torch, precision)), residency)
        # XL's autoencoder overflows in half; the others say so too, by default, and do not
        upcast = vae.config.force_upcast and unet.config.get("addition_embed_type") == "text_time"
        self.vae = frozen(vae, torch.float32 if upcast else self.unet.dtype)
        self.shift = vae.config.get("shift_factor") or 0.0
        self.size = size
        shrinks = 2 ** (len(vae.config.block_out_channels) - 1)
        self.shape = (vae.config.latent_channels, size // shrinks, size // shrinks)

    def encode(self, image: Float[Tensor, "B H W 4"]) -> Float[Tensor, "B C h w"]:
        """A draw from the encoder's distribution, moved and scaled to unit variance."""
        return (self.posterior(image).sample().float() - self.shift) * self.vae.config.scaling_factor

    def posterior(self, image: Float[Tensor, "B H W 4"]) -> Any:
        """The encoder's distribution of the pictures' latents, unscaled."""
        x = resized(image.permute(0, 3, 1, 2)[:, :3] * 2 - 1, self.size)
        with torch.autocast(x.device.type, enabled=False):
            return self.vae.encode(x.to(self.vae.dtype)).latent_dist

    def decode(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B H W 4"]:
        """Pictures of `size`; alpha is 1."""
        with torch.autocast(x.device.type, enabled=False):
            latents = x / self.vae.config.scaling_factor + self.shift
            image = self.vae.decode(latents.to(self.vae.dtype)).sample
        image = ((image.float() + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)
        return F.pad(image, (0, CHANNELS - 3), value=1.0)

    def predict(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], condition: Condition
    ) -> Float[Tensor, "B C h w"]:
        """eps, from what the network predicts."""
        raw = asked(self.unet, self.precision, x_t, t, condition, self.extra(condition))
        return eps_from(self.prediction, x_t, raw, t, self.schedule)

    def extra(self, condition: Condition) -> dict[str, Tensor] | None:
        """What the U-Net is told besides tokens and pictures."""
        return None


def frozen(network: Any, dtype: torch.dtype) -> Any:
    """For asking only, in a precision."""
    same = network.dtype == dtype  # diffusers warns of any call of to()
    return (network if same else network.to(dtype)).requires_grad_(False).eval()


def asked(
    unet: Any,
    precision: Precision,
    x_t: Float[Tensor, "B C h w"],
    t: Int[Tensor, " B"],
    condition: Condition,
    extra: dict[str, Tensor] | None,
) -> Float[Tensor, "B D h w"]:
    """What a U-Net of diffusers answers, in float32; the trainer's own autocast is left outside."""
    parts = [x_t] if condition.image is None else [x_t, condition.image]
    assert condition.tokens is not None
    dtype, device = unet.dtype, x_t.device
    frozen_alike = dtype == getattr(torch, precision)
    told = None if extra is None else {name: value.to(dtype) for name, value in extra.items()}
    with torch.autocast(device.type, enabled=False) if frozen_alike else autocast(device, cached=False):
        answer = unet(
            torch.cat([part.to(dtype) for part in parts], dim=1),
            t,
            encoder_hidden_states=condition.tokens.to(dtype),
            added_cond_kwargs=told,
            return_dict=False,
        )
    return answer[0].float()
