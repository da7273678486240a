"""DDPM (Ho et al. 2020) with text: trains a prior of pictures given a caption, dropped now and then.

L_simple in its v form; the caption's dropout is what classifier-free guidance needs (Ho and Salimans 2022).
"""

from __future__ import annotations

from systems.denoise import Denoise
from threestudio_like.priors.text_to_image import TextToImage


class DDPM(Denoise):
    """Captions in, pictures out."""

    prior: TextToImage
    averaged: TextToImage
