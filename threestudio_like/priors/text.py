"""A small text encoder without a vocabulary: words are sums of hashed pieces, so every word has an embedding.

A word's pieces are itself and its character trigrams, with marks at its ends (fastText, Bojanowski et al.
2017); a piece's bucket is its CRC-32. One transformer layer mixes the words of a prompt.
"""

from __future__ import annotations

import functools
import re
import zlib

import torch
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.ops.camera import spherical
from threestudio_like.priors.words import Words
from threestudio_like.ranges import Count
from threestudio_like.records import Camera

# DreamFusion's: overhead above 60 degrees, front within 45 of azimuth 0, back within 45 of 180
WORDS = Words(form="{prompt}, {view} view", front=45, back=45, overhead=60)


class Text(nn.Module):
    """Prompts -> one token for each of the first `length` words; empty places share a learnt token."""

    def __init__(self, *, buckets: Count, channels: Count, length: Count, heads: Count) -> None:
        super().__init__()
        self.buckets, self.length = buckets, length
        self.pieces = nn.EmbeddingBag(buckets, channels, mode="mean")
        self.empty = nn.Parameter(torch.zeros(channels))
        self.places = nn.Parameter(0.02 * torch.randn(length, channels))
        self.mix = nn.TransformerEncoderLayer(
            channels, heads, 2 * channels, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, prompts: list[str]) -> Float[Tensor, "B L D"]:
        """Tokens for cross-attention."""
        words = [words_of(prompt)[: self.length] for prompt in prompts]
        rows = self.empty.expand(len(prompts), self.length, -1).clone()
        pieces = [torch.tensor(pieces_of(word, self.buckets)) for row in words for word in row]
        if pieces:
            starts = torch.tensor([0] + [len(piece) for piece in pieces[:-1]]).cumsum(0)
            device = self.empty.device
            found = self.pieces(torch.cat(pieces).to(device), starts.to(device))
            places = [(b, place) for b, row in enumerate(words) for place in range(len(row))]
            b, place = torch.tensor(places, device=device).unbind(-1)
            rows = rows.index_put((b, place), found.to(rows.dtype))
        return self.norm(self.mix(rows + self.places))


def words_of(prompt: str) -> list[str]:
    """Lower-case words and numbers."""
    return re.findall(r"\w+", prompt.lower())


@functools.lru_cache(maxsize=65536)
def pieces_of(word: str, buckets: int) -> tuple[int, ...]:
    """Buckets of the word and of its trigrams."""
    marked = f"<{word}>"
    trigrams = [marked[i : i + 3] for i in range(len(marked) - 2)]
    return tuple(zlib.crc32(piece.encode()) % buckets for piece in (marked, *trigrams))


def view_words(camera: Camera) -> list[str]:
    """Where each camera stands, in words (DreamFusion, section 3.2); azimuth 0 is the front."""
    azimuth, elevation, _ = spherical(camera)
    angles = zip(azimuth.rad2deg().tolist(), elevation.rad2deg().tolist(), strict=True)
    return [f"{WORDS.view(*pair)} view" for pair in angles]
