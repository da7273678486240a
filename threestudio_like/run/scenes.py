"""The scene on disk: scene.safetensors (its numbers) and scene.yaml (the parts that hold them)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from omegaconf import OmegaConf
from safetensors import SafetensorError

from threestudio_like.files import write
from threestudio_like.run.composition import build, plain
from threestudio_like.run.errors import UserError, one_line
from threestudio_like.scene import Scene

WEIGHTS, PARTS = "scene.safetensors", "scene.yaml"


def save(scene: Scene, parts: Mapping[str, Any], folder: Path) -> None:
    """What a stage made; `parts` is the resolved configuration it was built from."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in scene.state_dict().items()}
    write(folder / PARTS, OmegaConf.to_yaml(OmegaConf.create(dict(parts))))
    write(folder / WEIGHTS, safetensors.torch.save(tensors))


def load(folder: Path) -> Scene:
    """The same scene, built from its parts and filled with its numbers; every name must match."""
    scene = build(plain(folder / PARTS), f"{folder}/{PARTS}")
    try:
        numbers = safetensors.torch.load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise UserError(f"resume: {folder / WEIGHTS} cannot be read ({error})") from error
    try:
        scene.load_state_dict(numbers, strict=True)
    except RuntimeError as error:
        first = one_line("\n".join(str(error).splitlines()[1:2]))
        raise UserError(f"resume: {folder / WEIGHTS} is not of {PARTS} beside it ({first[:200]})") from error
    return scene


def saved(folder: Path) -> bool:
    """Whether a stage has left one here; the numbers are written last."""
    return (folder / WEIGHTS).exists()
