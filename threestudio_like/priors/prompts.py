"""Embeddings of texts, made once: each is kept in a file, and the text encoder goes when it has been asked.

A file's name is a digest of the encoder's own files, of the text, the precision and the size. So a second run
needs no text encoder, and no memory for it.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save as serialized
from torch import Tensor

from threestudio_like import cache
from threestudio_like.files import write
from threestudio_like.priors.base import Condition, Prior
from threestudio_like.priors.weights import read
from threestudio_like.priors.words import Told, Words
from threestudio_like.records import Camera, View

log = logging.getLogger(__name__)
FORMAT = 2  # of the files; a new number forgets the old ones
Embedded = Mapping[str, Tensor]  # `tokens` (L, D), and what else the family has; without a batch
Encoder = Callable[[list[str]], list[dict[str, Tensor]]]
Embedder = Callable[[list[str]], list[Embedded]]  # Prompts, or what stands for them


class Prompts:
    """Text to its embedding.

    load: makes the encoder; called only for texts that no file has.
    maker: the encoder's folders, whose files tell it from others; precision: that it computes in.
    size: of the pictures, where an embedding depends on it.
    folder: of the files; null for the user's cache.
    """

    def __init__(
        self,
        *,
        load: Callable[[], Encoder],
        maker: list[Path],
        precision: str,
        size: int | None,
        folder: str | None,
    ) -> None:
        self.load, self.precision, self.size, self.folder = load, precision, size, folder
        self.identity = fingerprint(maker)
        self.known: dict[str, Embedded] = {}

    def __call__(self, texts: list[str]) -> list[Embedded]:
        """Of each text, on the CPU."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        self.known |= {text: read(self.file(text)) for text in new if self.file(text).is_file()}
        absent = [text for text in new if text not in self.known]
        if absent:
            self.make(absent)
        return [self.known[text] for text in texts]

    def make(self, texts: list[str]) -> None:
        """Ask the encoder, keep what it says, and let it go."""
        log.info("embedding %d texts; they are kept in %s", len(texts), self.file(texts[0]).parent)
        encoder = self.load()
        with torch.no_grad():
            made = encoder(texts)
        del encoder
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        for text, embedded in zip(texts, made, strict=True):
            self.known[text] = {name: value.float().cpu().contiguous() for name, value in embedded.items()}
            write(self.file(text), serialized(dict(self.known[text])))

    def file(self, text: str) -> Path:
        """Where its embedding is kept."""
        key = cache.digest(FORMAT, self.identity, self.precision, self.size, text)
        return cache.folder(self.folder) / "prompts" / f"{key}.safetensors"


def fingerprint(folders: list[Path]) -> str:
    """Of all files in them: where they really are, how long they are, and since when."""
    files = sorted(file.resolve() for folder in folders for file in folder.rglob("*") if file.is_file())
    return cache.digest(*((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files))


class Spoken:
    """Prompts, the cameras' words and a negative prompt, as conditions.

    words: null for prompts as they are. negative: what null() says.
    An embedding's `vector`, where the family has one, becomes the condition's.
    """

    def __init__(self, *, prompts: Embedder, words: Words | None, negative: str) -> None:
        self.prompts, self.words, self.negative = prompts, words, negative

    def condition(self, texts: list[str], camera: Camera) -> Condition:
        """One row for each prompt and its camera, on the camera's device."""
        device = camera.c2w.device
        told = self.told(texts, camera)
        tokens = torch.stack([self.mixed(each.shown, "tokens") for each in told]).to(device)
        condition = Condition(tokens=tokens)
        if "vector" in self.prompts([self.negative])[0]:
            vector = torch.stack([self.mixed(each.shown, "vector") for each in told]).to(device)
            condition = condition._replace(vector=vector)
        if not told[0].negatives:
            return condition
        rows = [[self.mixed({text: 1.0}, "tokens") for text, _ in each.negatives] for each in told]
        negatives = torch.stack([torch.stack(row) for row in rows]).to(device)
        pushes = torch.tensor([[push for _, push in each.negatives] for each in told], device=device)
        return condition._replace(negatives=negatives, pushes=pushes)

    def null(self, condition: Condition) -> Condition:
        """The negative prompt, whatever the camera."""
        assert condition.tokens is not None
        nothing = self.prompts([self.negative])[0]
        tokens = nothing["tokens"].to(condition.tokens).expand_as(condition.tokens)
        if condition.vector is None:
            return condition._replace(tokens=tokens)
        vector = nothing["vector"].to(condition.vector).expand_as(condition.vector)
        return condition._replace(tokens=tokens, vector=vector)

    def told(self, texts: list[str], camera: Camera) -> list[Told]:
        """Which texts; all that any camera may need are embedded together: the encoder then goes for good."""
        words = self.words
        for text in dict.fromkeys(texts):
            self.prompts([*([text] if words is None else words.texts(text)), self.negative])
        return [Told({text: 1.0}, []) for text in texts] if words is None else words(texts, camera)

    def mixed(self, shown: Mapping[str, float], name: str) -> Tensor:
        """The texts' embeddings, by their shares."""
        found = self.prompts(list(shown))
        rows = [share * each[name] for share, each in zip(shown.values(), found, strict=True)]
        return torch.stack(rows).sum(0)


class Worded(Prior):
    """Base of priors that are told words, and the camera in words."""

    spoken: Spoken

    def condition(self, prompts: list[str], camera: Camera, reference: View | None) -> Condition:
        """What the text encoders say of the prompts with the cameras' words; the reference is not used."""
        return self.spoken.condition(prompts, camera)

    def null(self, condition: Condition) -> Condition:
        """The negative prompt."""
        return self.spoken.null(condition)
