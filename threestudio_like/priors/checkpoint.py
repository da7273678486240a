"""The tensors of an original checkpoint (.ckpt of PyTorch Lightning, or .safetensors); code in it never runs.

A .ckpt also pickles what trained it: callbacks, numbers of numpy. Torch refuses such names; here each becomes
an inert `Nothing`, whatever it was, and only tensors are kept.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor


class Nothing:
    """Stands for anything that is no tensor: takes what it is given and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Nothing:
        """An empty object, whatever it is made from."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def tensors(path: Path) -> dict[str, Tensor]:
    """Every named tensor of the file, on the CPU, mapped from the disk where the format allows it."""
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"weights: {path} is not a safetensors file: {error}") from error
    if not zipfile.is_zipfile(path):
        raise ValueError(f"weights: {path} is not a checkpoint of torch 1.6 or later")
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
        with torch.serialization.safe_globals([(stand_in(name), name) for name in names]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError) as error:
        raise ValueError(f"weights: {path} cannot be read as tensors: {error}".splitlines()[0]) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def stand_in(name: str) -> type[Nothing]:
    """One `Nothing` for each name that is asked for."""
    return type(name.rpartition(".")[2], (Nothing,), {})
