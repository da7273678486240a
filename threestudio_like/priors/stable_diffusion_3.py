"""Stable Diffusion 3 and 3.5 as published: a transformer that straightens paths (Esser et al. 2024).

It looks at z = (1 - s) x_0 + s eps and says how z moves with s: v = eps - x_0. Scaled to keep the variance, z
is the house's x_t, with s = sigma / (alpha + sigma) and z = x_t / (alpha + sigma); so eps = z + (1 - s) v.
Tokens are those of two CLIPs side by side, and then T5's; the CLIPs' summaries join the time.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextModelWithProjection

from threestudio_like.priors import mmdit
from threestudio_like.priors.base import Condition
from threestudio_like.priors.latents import Latents
from threestudio_like.priors.prompts import Encoder, Prompts, Spoken, Worded
from threestudio_like.priors.published import Precision, find, part, reader
from threestudio_like.priors.residency import Residency
from threestudio_like.priors.stable_diffusion import asker
from threestudio_like.priors.t5 import Held, computes_in, held
from threestudio_like.priors.words import Words
from threestudio_like.schedule.vp import VP

TIMES = 1000  # s as the network is told it
LENGTH = 256  # of T5's tokens


class StableDiffusion3(Worded, Latents):
    """p(picture | words), in latents of 16 channels.

    weights: a name of the hub, a folder in diffusers' layout, or Stability's single file (mmdit.py).
    text: the folder, or name, with tokenizers and text encoders; null where the weights have them.
    text_encoder: how T5 is held while it reads (t5.py); null: it is not asked, and its tokens are zeros, for
        which the network was trained as well.
    residency: as Latents'.
    words: the camera in words; null for the prompt alone. negative: the prompt of the unconditional side.
    cache: folder for embeddings of prompts; null for the user's own.
    """

    # a run looks for weights, and for what reads words, before it begins
    published = staticmethod(partial(find, network="transformer"))
    readers = ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2")

    def __init__(
        self,
        *,
        schedule: VP,
        size: int,
        weights: str,
        text: str | None,
        precision: Precision,
        residency: Residency | None,
        text_encoder: Held | None,
        words: Words | None,
        negative: str,
        cache: str | None,
    ) -> None:
        path = find(weights, "transformer")
        if words is not None and words.num_negatives:
            raise ValueError("words: Perp-Neg has no form for the CLIPs' summaries; use priors/words")
        numbers = ["", "_2"] if text_encoder is None else ["", "_2", "_3"]
        names = [f"{name}{number}" for name in ("tokenizer", "text_encoder") for number in numbers]
        folder = reader(path, text, names)
        network, vae = of_folder(path, precision) if path.is_dir() else mmdit.of_file(path, precision)[:2]
        super().__init__(
            schedule=schedule,
            size=size,
            unet=network,
            vae=vae,
            prediction="v",
            precision=precision,
            residency=residency,
        )
        width = network.config.joint_attention_dim
        prompts = Prompts(
            load=lambda: encoder(folder, text_encoder, width),
            maker=[folder / name for name in names],
            precision="float32" if text_encoder is None else computes_in(text_encoder),
            size=None,
            folder=cache,
        )
        self.spoken = Spoken(prompts=prompts, words=words, negative=negative)

    def predict(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], condition: Condition
    ) -> Float[Tensor, "B C h w"]:
        """eps, from where the path goes."""
        assert condition.tokens is not None and condition.vector is not None
        alpha, sigma = self.schedule.coefficients(t, x_t)
        z, s = x_t / (alpha + sigma), sigma / (alpha + sigma)
        dtype = self.unet.dtype
        with torch.autocast(x_t.device.type, enabled=False):
            (v,) = self.unet(
                hidden_states=z.to(dtype),
                encoder_hidden_states=condition.tokens.to(dtype),
                pooled_projections=condition.vector.to(dtype),
                timestep=TIMES * s.flatten(),
                return_dict=False,
            )
        return z + (1 - s) * v.float()


def of_folder(folder: Path, precision: Precision) -> tuple[Any, Any]:
    """Transformer and autoencoder in diffusers' layout."""
    from diffusers import AutoencoderKL, SD3Transformer2DModel

    network = part(SD3Transformer2DModel, folder, "transformer", precision)
    return network, part(AutoencoderKL, folder, "vae", precision)


def encoder(folder: Path, how: Held | None, width: int) -> Encoder:
    """Texts to tokens of this width and to the summaries of both CLIPs."""
    clips = [asker(folder, number, CLIPTextModelWithProjection) for number in ("", "_2")]
    read = None if how is None else t5(folder, how)

    def encode(texts: list[str]) -> list[dict[str, Tensor]]:
        said = [ask(texts) for ask in clips]
        tokens = torch.cat([one.hidden_states[-2] for one in said], dim=-1)
        rest = torch.zeros(len(texts), LENGTH, width) if read is None else read(texts).to(tokens)
        tokens = torch.cat([F.pad(tokens, (0, width - tokens.shape[-1])), rest], dim=1)
        vector = torch.cat([one.text_embeds for one in said], dim=-1)
        return [{"tokens": row, "vector": also} for row, also in zip(tokens, vector, strict=True)]

    return encode


def t5(folder: Path, how: Held) -> Any:
    """Texts to T5's tokens; places after a text's end are not masked."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder / "tokenizer_3", local_files_only=True)
    network = held(how, folder, "text_encoder_3")

    def read(texts: list[str]) -> Float[Tensor, "B L D"]:
        words = tokenizer(
            texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
        )
        return network(words.input_ids.to(network.device)).last_hidden_state.cpu()

    return read
