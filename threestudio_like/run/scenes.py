"""The scene on disk: scene.safetensors (its numbers) and scene.yaml (the parts that hold them)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from omegaconf import OmegaConf
from safetensors import SafetensorError

from threestudio_like.files import write
from threestudio_like.priors.weights import unfit
from threestudio_like.run.composition import build, plain
from threestudio_like.run.errors import UserError, one_line
from threestudio_like.run.inputs import SCENE
from threestudio_like.run.signatures import check, check_type
from threestudio_like.run.trust import check_loaded
from threestudio_like.scene import Scene

PARTS, WEIGHTS = SCENE


def save(scene: Scene, parts: Mapping[str, Any], folder: Path) -> None:
    """What a stage made; `parts` is the resolved configuration it was built from."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in scene.state_dict().items()}
    write(folder / PARTS, OmegaConf.to_yaml(OmegaConf.create(dict(parts))))
    write(folder / WEIGHTS, safetensors.torch.save(tensors))


def load(folder: Path, key: str = "resume") -> Scene:
    """The same scene, built from its parts and filled with its numbers; every name must match."""
    parts = plain(folder / PARTS, key)
    check_loaded(parts, str(folder / PARTS))  # a folder may come from anywhere
    check(parts, str(folder / PARTS))
    check_type(parts, Scene, str(folder / PARTS))
    scene = build(parts, str(folder / PARTS))
    try:
        numbers = safetensors.torch.load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{key}: {folder / WEIGHTS} cannot be read ({error})") from error
    try:
        scene.load_state_dict(numbers, strict=True)  # Gaussians take any number
    except (RuntimeError, ValueError, KeyError) as error:
        problem = unfit(scene, numbers) or one_line(error)
        raise UserError(f"{key}: {folder / WEIGHTS} is not of the scene in {PARTS}: {problem}") from error
    return scene


def saved(folder: Path) -> bool:
    """Whether a stage has left one here; the numbers are written last."""
    return (folder / WEIGHTS).exists()
