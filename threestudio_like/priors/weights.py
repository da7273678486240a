"""Trained weights of the small priors: a safetensors file, and a card that says what they are.

The card is a JSON file of the same name: data, steps, metrics, licence. Weights travel in half precision
and are read back into the module's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialized
from torch import nn

from threestudio_like.files import write


def find(weights: str, key: str = "weights") -> Path:
    """The file meant: a name in bundled/, or a path; `key` is whose mistake it is otherwise."""
    bundled = Path(str(files("threestudio_like.priors"))) / "bundled"
    for path in (bundled / f"{weights}.safetensors", Path(weights).expanduser()):
        if path.is_file():
            return path
    names = sorted(path.stem for path in bundled.glob("*.safetensors"))
    raise ValueError(f"{key}: no file {weights!r}, and no such name; bundled: {', '.join(names) or 'none'}")


def load(module: nn.Module, weights: str) -> None:
    """Fill `module`; every name and shape must fit, and what the card says of how it was trained."""
    path = find(weights)
    fill(module, read(path), path)
    check_card(module, path)


def read(path: Path, key: str = "weights") -> dict[str, torch.Tensor]:
    """The tensors of a file."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{key}: {path} is not a safetensors file: {error}") from error


def fill(module: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """What was read from `path` into `module`."""
    if problem := unfit(module, state):
        raise ValueError(f"weights: {path} does not fit {type(module).__name__}: {problem}")
    module.load_state_dict(state)


def unfit(module: nn.Module, state: Mapping[str, torch.Tensor]) -> str:
    """The first name that keeps numbers from being a module's, and why; empty if all of them fit."""
    own = module.state_dict()
    for name in own:
        if name not in state:
            return f"it lacks {name!r}"
        if own[name].shape != state[name].shape:
            return f"{name!r} is {_sides(state[name])}, expected {_sides(own[name])}"
    return next((f"it has {name!r} besides" for name in state if name not in own), "")


def _sides(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"


def widen(module: nn.Module, weights: str, name: str, new: str) -> None:
    """Fill `module` with weights made for fewer input channels of the convolution `name`; the rest is zero.

    What begins with `new` stays as it is; every other name and shape must fit.
    """
    path, own = find(weights), module.state_dict()
    state = read(path)
    wide, given = own[name], state.get(name)
    if given is None or given.shape[0] != wide.shape[0] or given.shape[1] > wide.shape[1]:
        raise ValueError(f"weights: {path} has no {name!r} that {type(module).__name__} could widen")
    state[name] = torch.zeros_like(wide)
    state[name][:, : given.shape[1]] = given
    state |= {key: value for key, value in own.items() if key.startswith(new)}
    fill(module, state, path)
    check_card(module, path)


def check_card(module: nn.Module, path: Path) -> None:
    """That the card, where there is one, says nothing else than `module.described()`."""
    if not hasattr(module, "described") or not path.with_suffix(".json").is_file():
        return
    told = card(str(path))
    for name, own in module.described().items():  # type: ignore[operator]
        if told.get(name, own) != own:
            raise ValueError(f"weights: {path} was trained with {name} = {told[name]!r}; here it is {own!r}")


def save(module: nn.Module, path: Path, card: Mapping[str, Any]) -> None:
    """Write path.safetensors (float16) and path.json; each file is whole or absent."""
    tensors = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
    state = {name: tensor.to(torch.float16).contiguous() for name, tensor in tensors.items()}
    write(path.with_suffix(".safetensors"), serialized(state))
    write(path.with_suffix(".json"), json.dumps(dict(card), indent=2) + "\n")


def card(weights: str) -> dict[str, Any]:
    """What is written beside the weights."""
    path = find(weights).with_suffix(".json")
    if not path.is_file():
        raise ValueError(f"weights: {path} is missing; weights come with a card")
    try:
        found = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"weights: {path} is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"weights: {path} is no card; expected names and what they say")
    return found
