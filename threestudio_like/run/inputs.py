"""The thing to make, as the command line gives it: a picture, a mesh, posed pictures, words."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from threestudio_like.run.errors import UserError, hint, mistakes

SOURCES = ("image", "object", "dataset")
INPUTS = (*SOURCES, "prompt")  # one thing: a new picture leaves the configured words behind


def given(key: str, overrides: list[str]) -> bool:
    """Whether the command line sets a key."""
    return any(override.lstrip("+").split("=")[0] == key for override in overrides)


def with_input(config: DictConfig, overrides: list[str]) -> DictConfig:
    """A source on the command line replaces the configured sources and words."""
    if any(given(key, overrides) for key in SOURCES):
        for key in INPUTS:
            if not given(key, overrides):
                config[key] = "" if key == "prompt" else None
    for key in SOURCES:
        if config[key] is not None:
            config[key] = source(key, str(config[key]))
    return config


def source(key: str, name: str) -> str:
    """A file's or folder's full path, or an object's name as it is."""
    from threestudio_like.data import named  # imports torch, which a mistake in composing need not wait for

    if key == "object" and named.is_name(name):
        with mistakes(key):
            named.check(name)
        return name
    return str(found(key, name))


def found(key: str, name: str) -> Path:
    """A file or folder, the user's or the package's; absolute, so that a resume finds it from anywhere."""
    path = Path(name).expanduser()
    for candidate in (path, Path(__file__).parents[2] / path):
        if candidate.exists():
            return candidate.resolve()
    near = [str(path.with_name(f.name)) for f in path.parent.iterdir()] if path.parent.is_dir() else []
    guess = hint(name, near) if len(near) > 12 else hint(name, near).split("; choose")[0]
    raise UserError(f"{key}: no such file {name!r}{guess}")
