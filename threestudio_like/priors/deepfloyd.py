"""DeepFloyd IF's first stage (Imagen's design, Saharia et al. 2022): pixels, 64 a side, told by T5's tokens.

The U-Net's 6 channels are the noise and the variance of a step back; only the first 3 are asked for. T5 has
4.8 billion weights: it reads each prompt once (prompts.py), and is gone before anything else is done.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from transformers import AutoTokenizer

from threestudio_like.priors import sizes
from threestudio_like.priors.base import Condition
from threestudio_like.priors.latents import asked
from threestudio_like.priors.pixels import CHANNELS, resized
from threestudio_like.priors.prompts import Embedder, Encoder, Prompts, Spoken, Worded
from threestudio_like.priors.published import Precision, alone, check_schedule, find, part, reader
from threestudio_like.priors.residency import Residency, housed
from threestudio_like.priors.t5 import Held, computes_in, held
from threestudio_like.priors.untrained import RANDOM, Invented, made, or_random
from threestudio_like.priors.words import Words
from threestudio_like.schedule.vp import VP

LENGTH = 77  # tokens of a prompt
COLOURS = 3


class DeepFloyd(Worded):
    """p(picture | words), in pixels.

    weights: a name of the hub, a folder in diffusers' layout, the U-Net's own file as diffusers saves it (its
        config.json beside it; without one it is taken for IF-I-XL's), or `random` (untrained.py).
    text: the folder, or name, with tokenizer and T5; null where the weights have them.
    text_encoder: how T5 is held while it reads (t5.py).
    residency: as Latents'.
    words, negative, cache: as Stable Diffusion's.
    """

    published = staticmethod(or_random(find))  # a run looks for weights before it begins,
    readers = ("tokenizer", "text_encoder")  # and for these

    def __init__(
        self,
        *,
        schedule: VP,
        weights: str,
        text: str | None,
        precision: Precision,
        residency: Residency | None,
        text_encoder: Held,
        words: Words | None,
        negative: str,
        cache: str | None,
    ) -> None:
        from diffusers import UNet2DConditionModel

        super().__init__()
        self.schedule, self.precision = schedule, precision
        prompts: Embedder
        if weights == RANDOM:
            self.unet: Any = made(UNet2DConditionModel, sizes.deepfloyd(), precision)
            prompts = Invented(shapes={"tokens": (LENGTH, self.unet.config.encoder_hid_dim)})
        else:
            path = find(weights)
            said = reader(path, text, self.readers)
            check_schedule(path if path.is_dir() else said, "eps", schedule.alpha_bar)
            if path.is_dir():
                self.unet = part(UNet2DConditionModel, path, "unet", precision)
            else:
                self.unet = alone(UNet2DConditionModel, path, sizes.deepfloyd(), precision)
            prompts = embedder(said, text_encoder, cache)
        self.unet = housed(self.unet, residency)
        side = self.unet.config.sample_size
        self.shape = (COLOURS, side, side)
        self.spoken = Spoken(prompts=prompts, words=words, negative=negative)

    def encode(self, image: Float[Tensor, "B H W 4"]) -> Float[Tensor, "B C h w"]:
        """Resized and scaled to [-1, 1]."""
        return resized(image.permute(0, 3, 1, 2)[:, :COLOURS] * 2 - 1, self.shape[1])

    def decode(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B H W 4"]:
        """Scaled back to [0, 1]; alpha is 1."""
        image = ((x + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)
        return F.pad(image, (0, CHANNELS - COLOURS), value=1.0)

    def predict(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], condition: Condition
    ) -> Float[Tensor, "B C h w"]:
        """The noise; what the network says of the variance is left out."""
        return asked(self.unet, self.precision, x_t, t, condition, None)[:, :COLOURS]


def embedder(folder: Path, how: Held, cache: str | None) -> Prompts:
    """Texts by the folder's T5."""
    return Prompts(
        load=lambda: t5_encoder(folder, how),
        maker=[folder / "tokenizer", folder / "text_encoder"],
        precision=computes_in(how),
        size=None,
        folder=cache,
    )


def t5_encoder(folder: Path, how: Held) -> Encoder:
    """Texts to tokens, in lower case as IF was trained; places after a text's end are masked for T5 only."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    encoder = held(how, folder, "text_encoder")

    def encode(texts: list[str]) -> list[dict[str, Tensor]]:
        plain = [text.lower().strip() for text in texts]
        words = tokenizer(
            plain, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
        ).to(encoder.device)
        said = encoder(words.input_ids, attention_mask=words.attention_mask).last_hidden_state
        return [{"tokens": row} for row in said]

    return encode
