"""One number for everything in a tree of plain values: equal trees have it in common, changed ones do not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def digest(tree: Any) -> str:
    """SHA-256 in hexadecimal of names, values and tensors in their order: what `torch.load` gives back."""
    found = hashlib.sha256()
    for piece in pieces(tree):
        found.update(piece)
    return found.hexdigest()


def pieces(tree: Any) -> Iterator[bytes | memoryview]:
    """What a tree is told by: each kind and length before its content, so that no two trees share them."""
    if isinstance(tree, Tensor):
        yield f"{tree.dtype} {tuple(tree.shape)};".encode()
        # a view, not a copy; a number has no last axis to be seen as bytes
        yield tree.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    elif isinstance(tree, Mapping):
        yield f"names {len(tree)};".encode()
        for name, value in tree.items():
            yield from pieces(name)
            yield from pieces(value)
    elif isinstance(tree, list | tuple):
        yield f"{type(tree).__name__} {len(tree)};".encode()
        for value in tree:
            yield from pieces(value)
    else:
        text = repr(tree).encode()  # of numbers, words and None: exact, and read back as they were
        yield f"{type(tree).__name__} {len(text)};".encode() + text
