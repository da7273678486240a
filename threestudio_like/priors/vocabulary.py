"""A table of what each word piece means, in the text encoder's place: MiniLM (Wang et al. 2020) asked once.

Row i is the mean of MiniLM's last tokens for piece i alone, less the mean of all rows, in their first
principal directions (Tulkens and van Dongen's Model2Vec, 2024), in bytes with a scale a row. It reads any
word, knows which mean alike, and needs no network; what it cannot know is what a word means beside others.
`python -m threestudio_like.priors.vocabulary model.onnx vocab.txt FILE` makes one (see sentence.py).
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, Int8, UInt8
from safetensors.torch import save as serialized
from torch import Tensor

from threestudio_like.files import write
from threestudio_like.priors.sentence import BEGIN, END, UNKNOWN, Frozen, pieces_of, session, words
from threestudio_like.priors.weights import find, read
from threestudio_like.ranges import Count

BATCH = 256  # pieces that are asked for at once


class Vocabulary(Frozen):
    """Prompts -> the first `length` of their word pieces; empty places share a learnt token.

    table: a name in bundled/ or a file. What is trained and saved is the projection.
    """

    rows: Int8[Tensor, "N D"]
    scales: Float[Tensor, " N"]

    def __init__(self, *, table: str, channels: Count, length: Count) -> None:
        parts = tables(str(find(table, "text.table")))
        super().__init__(width=parts["rows"].shape[1], channels=channels, length=length)
        self.known = listed(parts["pieces"])
        for name in ("rows", "scales"):
            self.register_buffer(name, parts[name], persistent=False)

    def told(self, prompt: str) -> Float[Tensor, "L W"]:
        """The rows of its pieces."""
        index = numbers(prompt, self.known)
        return self.rows[index].float() * self.scales[index].float()[:, None]


def numbers(prompt: str, known: dict[str, int]) -> Int[Tensor, " L"]:
    """Which rows; none of no words."""
    return torch.tensor([known[piece] for piece in pieces_of(prompt, known)], dtype=torch.long)


@functools.lru_cache(maxsize=2)
def tables(file: str) -> dict[str, Tensor]:
    """rows, scales, and the pieces as bytes; the file is read once."""
    parts = read(Path(file), "text.table")
    problem = unlike(parts)
    if problem:
        raise ValueError(f"text.table: {file} is no table of word pieces: {problem}")
    return parts


def unlike(parts: dict[str, Tensor]) -> str:
    """What keeps tensors from being a table; empty if nothing."""
    if set(parts) != {"rows", "scales", "pieces"}:
        return f"expected rows, scales and pieces, got {', '.join(sorted(parts)[:3]) or 'nothing'}"
    known = listed(parts["pieces"])
    if UNKNOWN not in known:
        return f"it has no piece {UNKNOWN}"
    count = len(known)
    if parts["rows"].ndim != 2 or len(parts["rows"]) != count or parts["scales"].shape != (count,):
        return f"{count} pieces, rows {tuple(parts['rows'].shape)}, scales {tuple(parts['scales'].shape)}"
    return ""


def listed(pieces: UInt8[Tensor, " B"]) -> dict[str, int]:
    """Each piece's row."""
    text = pieces.numpy().tobytes().decode(errors="replace")
    return {piece: number for number, piece in enumerate(text.splitlines())}


def made(model: str, vocabulary: str, width: int) -> dict[str, Tensor]:
    """A table, by MiniLM's files."""
    known = words(vocabulary)
    means = []
    for some in torch.arange(len(known)).split(BATCH):
        ids = np.stack([np.full(len(some), known[BEGIN]), some.numpy(), np.full(len(some), known[END])], 1)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        means.append(torch.from_numpy(session(model).run(None, given)[0]).mean(1))
    return {**packed(torch.cat(means), width), "pieces": torch.tensor(list("\n".join(known).encode())).byte()}


def packed(meanings: Float[Tensor, "N M"], width: int) -> dict[str, Tensor]:
    """Their principal directions, the strongest `width` of them, in bytes."""
    centred = meanings - meanings.mean(0)
    values, directions = torch.linalg.eigh((centred.T @ centred).double())
    strongest = directions[:, values.argsort(descending=True)[:width]].float()
    rows = centred @ strongest
    scales = rows.abs().amax(1).clamp(min=1e-6) / 127
    return {"rows": (rows / scales[:, None]).round().to(torch.int8), "scales": scales.half()}


def main(arguments: list[str]) -> int:
    """Write a table."""
    parser = argparse.ArgumentParser(prog="python -m threestudio_like.priors.vocabulary", description=__doc__)
    parser.add_argument("model", help="MiniLM as ONNX")
    parser.add_argument("vocabulary", help="its vocab.txt")
    parser.add_argument("file", type=Path, help="what is written, .safetensors")
    parser.add_argument("--width", type=int, default=128, help="numbers a piece")
    given = parser.parse_args(arguments)
    write(given.file, serialized(made(given.model, given.vocabulary, given.width)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
