"""Depth, or normals, of one picture by Marigold as published (Ke et al. 2024), in the role of `cues`.

Stable Diffusion 2's U-Net sees the picture's latent beside the noisy answer's, and is told the empty text;
some steps of DDIM, and the autoencoder shows depth as a grey picture, right up to scale and shift, or normals
as colours in [-1, 1], in the camera's frame (OpenGL: x right, y up, z towards the camera). Each has its own
weights, which say what they tell.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoTokenizer, CLIPTextModel

from threestudio_like.priors.cues import placed, turned
from threestudio_like.priors.published import Precision, folder_with, part, settings
from threestudio_like.ranges import Count, Positive, Seed, Side
from threestudio_like.records import View

DEPTHS = {"depth": 1.0, "disparity": -1.0}  # what grows with the distance, and what falls
NORMALS = "normals"
CHANNELS = 8  # of the U-Net: the picture's latent and the answer's


class Marigold(nn.Module):
    """A view to the same view with depth, or with normals.

    weights: a name of the hub, or a folder in diffusers' layout.
    size: pixels a side of the pictures that it looks at, a multiple of what its autoencoder shrinks by.
    steps: of DDIM. seed: of the noise it begins with; the answer depends on it a little.
    spread: mean deviation that an answer of depth is given, in units of the object's longest side.
    """

    published = staticmethod(partial(folder_with, network="unet"))  # a run looks for weights before it begins

    def __init__(
        self, *, weights: str, size: Side, steps: Count, seed: Seed, spread: Positive, precision: Precision
    ) -> None:
        from diffusers import AutoencoderKL, UNet2DConditionModel

        super().__init__()
        folder = folder_with(weights, "unet")
        self.kind = told_kind(folder)
        self.scheduler = sampler(folder, steps)
        self.unet = part(UNet2DConditionModel, folder, "unet", precision)
        if self.unet.config.in_channels != CHANNELS:
            count = self.unet.config.in_channels
            raise ValueError(
                f"weights: {folder} has a U-Net of {count} channels, not {CHANNELS}: no Marigold"
            )
        self.vae = part(AutoencoderKL, folder, "vae", precision)
        shrinks = 2 ** (len(self.vae.config.block_out_channels) - 1)
        if size % shrinks:
            raise ValueError(f"size: expected a multiple of {shrinks}, its autoencoder's, got {size}")
        self.size, self.steps, self.seed, self.spread = size, steps, seed, spread
        self.register_buffer("nothing", empty_text(folder, precision), persistent=False)

    @torch.no_grad()
    def forward(self, view: View) -> View:
        """The view with depth, along the viewing axis around the camera's distance, or with normals in the
        world's frame; 0 where it is empty."""
        x = view.rgba.permute(0, 3, 1, 2)
        if x.shape[2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        x = x.clamp(0, 1)
        said = self.told(x[:, :3]).permute(0, 2, 3, 1)
        if self.kind == NORMALS:
            return view._replace(normal=turned(said, view))
        depth = DEPTHS[self.kind] * said
        return view._replace(depth=placed(depth, x[:, 3:].permute(0, 2, 3, 1), view, self.spread))

    def told(self, rgb: Float[Tensor, "B 3 s s"]) -> Float[Tensor, "B C s s"]:
        """What it says of pictures of its own size: depth or disparity in [0, 1], or unit normals."""
        scale, dtype = self.vae.config.scaling_factor, self.vae.dtype
        picture = self.vae.encode(rgb.to(dtype) * 2 - 1).latent_dist.mode() * scale
        chance = torch.Generator().manual_seed(self.seed)
        x = torch.randn(picture.shape, generator=chance, dtype=dtype).to(picture.device)
        nothing: Any = self.nothing
        text = nothing.expand(len(x), -1, -1)
        self.scheduler.set_timesteps(self.steps, device=x.device)
        for t in self.scheduler.timesteps:
            said = self.unet(torch.cat([picture, x], 1), t, encoder_hidden_states=text).sample
            x = self.scheduler.step(said, t, x).prev_sample
        shown = self.vae.decode(x / scale).sample
        if self.kind == NORMALS:
            return F.normalize(shown.clamp(-1, 1).float(), dim=1, eps=1e-6)
        return (shown.mean(1, keepdim=True).clamp(-1, 1).float() + 1) / 2


def told_kind(folder: Path) -> str:
    """Whether it tells depth, disparity or normals; the first published ones, which do not say it, depth."""
    file = folder / "model_index.json"
    told = settings(file) if file.is_file() else {}
    kind = told.get("prediction_type", "depth") if isinstance(told, dict) else None
    if kind not in (*DEPTHS, NORMALS):
        known = f"{', '.join(DEPTHS)} or {NORMALS}"
        raise ValueError(f"weights: {file} says that it predicts {kind!r}; expected {known}")
    if kind == NORMALS and not told.get("use_full_z_range", True):
        half = f"{folder} tells normals of half a range of z"
        raise ValueError(f"weights: {half}; expected use_full_z_range: true")
    return kind


def sampler(folder: Path, steps: int) -> Any:
    """The folder's DDIM; those distilled for another sampler are refused."""
    from diffusers import DDIMScheduler

    file = folder / "scheduler" / "scheduler_config.json"
    if not file.is_file():
        raise ValueError(f"weights: {folder} has no scheduler/scheduler_config.json")
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        kind = told.get("_class_name")
        made: Any = DDIMScheduler.from_config(told)
    except Exception as error:  # a settings' file of any content ends in errors of any kind
        raise ValueError(f"weights: {file} is not whole: {' '.join(str(error).split())}") from error
    if kind != DDIMScheduler.__name__:
        raise ValueError(f"weights: {folder} is sampled by {kind}; expected one for DDIMScheduler")
    if steps > made.config.num_train_timesteps:
        raise ValueError(f"steps: at most {made.config.num_train_timesteps}, its noise levels, not {steps}")
    return made


def empty_text(folder: Path, precision: Precision) -> Float[Tensor, "1 L D"]:
    """What the text encoder says of no words; it is not needed again."""
    if not (folder / "tokenizer").is_dir():
        raise ValueError(f"weights: {folder} has no tokenizer")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    encoder = part(CLIPTextModel, folder, "text_encoder", precision)
    with torch.no_grad():
        return encoder(tokenizer("", return_tensors="pt").input_ids)[0]
