"""The thing to make, as the command line gives it: a picture, a mesh, posed pictures, words. No torch."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from threestudio_like.run.errors import UserError, brief, hint, mistakes

SOURCES = {
    "image": "a picture's file, such as PNG or JPEG",
    "object": "a mesh's file, such as GLB or OBJ",
    "dataset": "a folder of posed pictures",
}
INPUTS = (*SOURCES, "prompt")  # one thing: a new picture leaves the configured words behind
AUTO = "auto"  # of resume=: the run of the same settings, if there is one
PATHS = {
    **SOURCES,
    "init": "the folder of a run's stage",
    "resume": "the folder of a run",
    "outputs": "a folder",
    "name": "a name",
}
SCENE = ("scene.yaml", "scene.safetensors")  # what a stage leaves for the next one


def given(key: str, overrides: list[str]) -> bool:
    """Whether the command line sets a key."""
    return any(override.lstrip("+").split("=")[0] == key for override in overrides)


def check_words(config: DictConfig) -> None:
    """The root's texts are texts, and the elevation is an angle."""
    for key in (*PATHS, "prompt", "elevation", "plan"):
        if OmegaConf.is_missing(config, key):
            raise UserError(f"{key}: '???' stands for what is missing; write something else")
        if key not in config:
            raise UserError(f"{key}: cannot be left out")
    for key in PATHS:
        check_path(key, config[key])
    for key in ("prompt", "note"):
        if not isinstance(config[key], str):
            raise UserError(f"{key}: expected a text, got {brief(repr(config[key]))}")
        check_letters(key, config[key])
    check_tags(config.tags)
    for key in ("dry", "reuse"):
        if not isinstance(config[key], bool):
            raise UserError(f"{key}: expected true or false, got {config[key]!r}")
    degrees = config.elevation
    if type(degrees) not in (int, float) or not -90 <= degrees <= 90:
        raise UserError(f"elevation: expected degrees from -90 to 90, got {degrees!r}")


def check_tags(tags: Any) -> None:
    """A list of words."""
    if isinstance(tags, str) or not isinstance(tags, Sequence):
        raise UserError(f"tags: expected a list, got {tags!r}; write tags=[{tags}]")
    for tag in tags:
        if not isinstance(tag, (str, int, float)) or not str(tag).strip():
            raise UserError(f"tags: expected words, got {tag!r}")


def check_path(key: str, value: Any) -> None:
    """A path or a name says something, or is null; there must be a place for the outputs."""
    if value is None and key != "outputs":
        return
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{key}: expected {PATHS[key]}, got {value!r}")
    check_letters(key, value)


def check_letters(key: str, text: str) -> None:
    """What no file can hold as UTF-8: single bytes of another encoding, which Python keeps as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{key}: expected UTF-8, got {brief(ascii(text))}") from error


def with_input(config: DictConfig, overrides: list[str]) -> DictConfig:
    """A source on the command line replaces the configured sources and words; an interpolation stays."""
    if any(given(key, overrides) for key in SOURCES):
        for key in INPUTS:
            kept = given(key, overrides) or (key == "prompt" and OmegaConf.is_interpolation(config, key))
            if not kept:
                config[key] = words_of(config.object) if key == "prompt" else None
    for key in SOURCES:
        if config[key] is not None:
            config[key] = source(key, config[key])
    if config.get("init") is not None:
        config.init = str(scene_at(config.init))
    if config.image is None and given("elevation", overrides):
        raise UserError("elevation: says where image= is seen from, and there is none")
    return config


def words_of(name: str | None) -> str:
    """Of an object that is given by a name and without words: `furniture/cup-cake` is a cup cake."""
    found = re.fullmatch(r"furniture/(.+?)(/\d+)?", name or "")
    return "" if not found or Path(name or "").exists() else in_words(found[1])


def in_words(name: str) -> str:
    """Its letters and digits: `cup-cake` is a cup cake."""
    return re.sub(r"[\W_]+", " ", name).strip()


# ${words:${image}}: what the picture's file is called
OmegaConf.register_new_resolver("words", lambda path: in_words(Path(path or "").stem), replace=True)


def source(key: str, name: str) -> str:
    """A file's or folder's full path, or an object's name as it is."""
    if key == "object" and name.startswith(("furniture/", "shapes/")):
        from threestudio_like.data import named  # imports torch, which a missing file need not wait for

        if named.is_name(name):
            with mistakes(key):
                named.check(name)
            return name
    return str(found(key, name))


def scene_at(name: str) -> Path:
    """The folder of a stage that has left a scene; absolute, so that a resume finds it from anywhere."""
    path = at(name)
    try:
        if all((path / file).is_file() for file in SCENE):
            return path.resolve()
        there = path.is_dir()
        near = [str(file.parent) for place in (path, path.parent) for file in place.glob(f"*/{SCENE[1]}")]
    except OSError as error:
        raise UserError(f"init: cannot read {name!r} ({error.strerror})") from error
    what = f"no scene in {name!r}" if there else f"no such folder {name!r}"
    if path.is_file():
        what = f"{name!r} is a file"
        near = [str(path.parent)] if path.name in SCENE else near
    expected = "" if near else f"; expected a stage's folder, with {' and '.join(SCENE)}"
    raise UserError(f"init: {what}{hint(name, near) or expected}")


def at(path: str) -> Path:
    """The place that a user means; `~` of somebody unknown is a folder of that name, and no error."""
    return Path(os.path.expanduser(path))


def found(key: str, name: str) -> Path:
    """A file or folder, the user's or the package's; absolute, so that a resume finds it from anywhere."""
    try:
        path = at(name)
        places = [place for place in (path, Path(__file__).parents[2] / path) if place.exists()]
        for place in filter(Path.is_dir if key == "dataset" else Path.is_file, places):
            next(place.iterdir(), None) if place.is_dir() else place.open("rb").close()  # may it be read?
            return place.resolve()
        near = [str(path.with_name(f.name)) for f in path.parent.iterdir()] if path.parent.is_dir() else []
        if not places and path.is_symlink():
            raise UserError(f"{key}: {name!r} is a link that leads nowhere")
    except OSError as error:
        raise UserError(f"{key}: cannot read {brief(repr(name))} ({error.strerror})") from error
    if places:
        kind = "a folder" if places[0].is_dir() else "a file" if places[0].is_file() else "a device"
        raise UserError(f"{key}: {name!r} is {kind}; expected {SOURCES[key]}")
    guess = hint(name, near, few=0)  # files are not listed
    raise UserError(f"{key}: no such {'folder' if key == 'dataset' else 'file'} {name!r}{guess}")
