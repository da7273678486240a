"""Stable Diffusion as published: 1.x, 2.x and XL (Rombach et al. 2022; Podell et al. 2023).

The text encoders are asked in float32 on the CPU, once for each prompt (prompts.py). XL reads two of them,
the layer before their last, and is told the second's summary with the size and the crop of the picture.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextModel, CLIPTextModelWithProjection

from threestudio_like.priors import checkpoint, ldm, sizes
from threestudio_like.priors.base import Condition
from threestudio_like.priors.latents import Latents
from threestudio_like.priors.prompts import Encoder, Prompts, Spoken, Worded
from threestudio_like.priors.published import Precision, check_schedule, find, part, reader
from threestudio_like.priors.residency import Residency
from threestudio_like.priors.untrained import RANDOM, Invented, made, or_random
from threestudio_like.priors.words import Words
from threestudio_like.schedule.prediction import Prediction
from threestudio_like.schedule.vp import VP

Version = Literal["1.x", "2.x", "xl"]
log = logging.getLogger(__name__)
XL_VAE = {"scaling_factor": 0.13025, "force_upcast": True}  # what no shape tells
LENGTH = 77  # of CLIP's tokens
NUM_TIMES = 6  # XL: sides before and after cropping, and the crop's corner


class StableDiffusion(Worded, Latents):
    """p(picture | words), in latents.

    weights: a name of the hub, a folder in diffusers' layout, an original checkpoint, or `random`
        (untrained.py). version: whose sizes `random` has; others know their own.
    text: the folder, or name, with tokenizer and text encoder; null where the weights have them.
    residency: as Latents'.
    words: the camera in words; null for the prompt alone. negative: the prompt of the unconditional side.
    cache: folder for embeddings of prompts; null for the user's own.
    """

    published = staticmethod(or_random(find))  # a run looks for weights before it begins,
    readers = ("tokenizer", "text_encoder")  # and for these

    def __init__(
        self,
        *,
        schedule: VP,
        size: int,
        weights: str,
        version: Version,
        text: str | None,
        prediction: Prediction,
        precision: Precision,
        residency: Residency | None,
        words: Words | None,
        negative: str,
        cache: str | None,
    ) -> None:
        said: Path | None = None
        if weights == RANDOM:
            unet, vae = of_nothing(version, precision)
        else:
            path = find(weights)
            said = reader(path, text, self.readers)
            check_schedule(path if path.is_dir() else said, prediction, schedule.alpha_bar)
            unet, vae = of_folder(path, precision) if path.is_dir() else of_file(path)
        super().__init__(
            schedule=schedule,
            size=size,
            unet=unet,
            vae=vae,
            prediction=prediction,
            precision=precision,
            residency=residency,
        )
        self.xl = unet.config.addition_embed_type == "text_time"
        if self.xl and words is not None and words.num_negatives:
            raise ValueError("words: Perp-Neg has no form for XL's second condition; use priors/words")
        prompts = invented(unet) if said is None else embedder(said, size if self.xl else None, cache)
        self.spoken = Spoken(prompts=prompts, words=words, negative=negative)

    def extra(self, condition: Condition) -> dict[str, Tensor] | None:
        """XL's second condition."""
        if not self.xl:
            return None
        assert condition.vector is not None
        pooled, times = condition.vector[:, :-NUM_TIMES], condition.vector[:, -NUM_TIMES:]
        return {"text_embeds": pooled, "time_ids": times}


def of_nothing(version: Version, precision: Precision) -> tuple[Any, Any]:
    """U-Net and autoencoder of random numbers."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    unet = made(UNet2DConditionModel, sizes.VERSIONS[version], precision)
    xl = version == "xl"
    return unet, made(AutoencoderKL, sizes.VAE | (XL_VAE if xl else {}), "float32" if xl else precision)


def invented(unet: Any) -> Invented:
    """Embeddings of the shapes that a U-Net takes."""
    shapes: dict[str, tuple[int, ...]] = {"tokens": (LENGTH, unet.config.cross_attention_dim)}
    if unet.config.addition_embed_type == "text_time":
        each = unet.config.addition_time_embed_dim
        summary = unet.config.projection_class_embeddings_input_dim - NUM_TIMES * each
        shapes["vector"] = (summary + NUM_TIMES,)
    return Invented(shapes=shapes)


def embedder(folder: Path, size: int | None, cache: str | None) -> Prompts:
    """Texts by the folder's encoders; `size` as clip_encoder's."""
    maker = [folder / name for name in text_parts(folder)]
    return Prompts(
        load=lambda: clip_encoder(folder, size), maker=maker, precision="float32", size=size, folder=cache
    )


def of_folder(folder: Path, precision: Precision) -> tuple[Any, Any]:
    """U-Net and autoencoder in diffusers' layout."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    unet = part(UNet2DConditionModel, folder, "unet", precision)
    xl = unet.config.addition_embed_type == "text_time"
    return unet, part(AutoencoderKL, folder, "vae", "float32" if xl else precision)


def of_file(path: Path) -> tuple[Any, Any]:
    """U-Net and autoencoder of an original checkpoint."""
    state = checkpoint.tensors(path)
    unet, of_unet = ldm.unet(state, ema=True)
    vae, of_vae = ldm.vae(state)
    if unet.config.addition_embed_type == "text_time":
        vae.register_to_config(**XL_VAE)
    log.info("%s: %d tensors converted", path.name, len(of_unet) + len(of_vae))
    return unet, vae


def text_parts(folder: Path) -> list[str]:
    """The folders of tokenizers and text encoders; the second pair is XL's."""
    names = ["tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2"]
    return [name for name in names if (folder / name).is_dir()]


def clip_encoder(folder: Path, size: int | None) -> Encoder:
    """Texts to tokens; with `size`, XL's tokens, and its vector for whole pictures of that side."""
    if size is None:
        asked = asker(folder, "", CLIPTextModel)
        return lambda texts: [{"tokens": row} for row in asked(texts).last_hidden_state]
    first, second = asker(folder, "", CLIPTextModel), asker(folder, "_2", CLIPTextModelWithProjection)

    def encode(texts: list[str]) -> list[dict[str, Tensor]]:
        one, two = first(texts), second(texts)
        tokens = torch.cat([one.hidden_states[-2], two.hidden_states[-2]], dim=-1)
        times = torch.tensor([size, size, 0, 0, size, size]).expand(len(texts), -1)
        vector: Float[Tensor, "B D"] = torch.cat([two.text_embeds, times], dim=-1)
        return [{"tokens": row, "vector": also} for row, also in zip(tokens, vector, strict=True)]

    return encode


def asker(folder: Path, number: str, kind: Any) -> Any:
    """Texts to all that one encoder says."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder / f"tokenizer{number}", local_files_only=True)
    encoder = part(kind, folder, f"text_encoder{number}", "float32")

    def ask(texts: list[str]) -> Any:
        length = encoder.config.max_position_embeddings
        words = tokenizer(
            texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        return encoder(words.input_ids, output_hidden_states=True)

    return ask
