"""Hydra's side of a run: the composed tree as plain values, its mistakes as one line, and the saved one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from threestudio_like.run.errors import UserError, hint, joined, one_line
from threestudio_like.run.inputs import with_input

MISTAKES = (UserError, HydraException, OmegaConfBaseException)
KEPT_OPEN = ("resume", "plan", "ops.backend")  # what may change when a run goes on


def resolved(config: DictConfig) -> dict[str, Any]:
    """The tree with every interpolation filled in, as plain dictionaries and lists."""
    unread(config)
    tree = OmegaConf.to_container(config, resolve=True)
    assert isinstance(tree, dict)
    return {str(name): value for name, value in tree.items()}


def unread(config: DictConfig) -> None:
    """A key at the root that the root does not have, and nothing refers to, is a typo."""
    known = OmegaConf.load(Path(__file__).parents[2] / "configs" / "config.yaml")
    names = {*map(str, known), "ops", "stages"} - {"defaults", "hydra"}
    text = OmegaConf.to_yaml(config)
    for name in map(str, config):
        if name not in names and not re.search(r"\$\{" + re.escape(name) + r"\b", text):
            raise UserError(f"{name}: nothing reads this key{hint(name, names)}")


def build(node: Mapping[str, Any], key: str) -> Any:
    """Instantiate one part; a ValueError of its constructor becomes one line that names the full key."""
    try:
        return hydra.utils.instantiate(dict(node), _convert_="all")
    except InstantiationException as error:
        raise explained(error, node, key) from error


def explained(error: InstantiationException, node: Mapping[str, Any], key: str) -> BaseException:
    """Whose mistake it is: the user's, as a UserError; or ours, as it was raised."""
    cause = error.__cause__
    if cause is not None and not isinstance(cause, (ValueError, FileNotFoundError)):
        return cause
    inner = re.search(r"full_key: (\S+)", str(error))
    for name in inner[1].split(".") if inner else []:
        node = node.get(name, {}) if isinstance(node, Mapping) else {}
    where = joined(key, inner[1] if inner else "")
    text = one_line(cause or str(error).split("\nfull_key")[0])
    if text.startswith(key + "."):
        return UserError(text)
    begins = re.match(r"(\w+)(\.\w+)*: ", text)  # a constructor that names its own argument
    return UserError(f"{where}.{text}" if begins and begins[1] in node else f"{where}: {text}")


def said(error: Exception, overrides: list[str], configs: Path) -> str:
    """A mistake that Hydra or OmegaConf found, in one line, with the nearest name where there is one."""
    lines = str(error).splitlines()
    full_key = next((line.split(":", 1)[1].strip() for line in lines if line.strip().startswith("full_key:")), "")
    if missing := re.search(r"Could not find '([^']+)'", str(error)):
        options = {str(f.relative_to(configs).with_suffix("")) for f in configs.rglob("*.yaml")}
        return f"{one_line(lines[0])}{hint(missing[1], siblings(missing[1], options))}"
    if unknown := re.search(r"Could not override '([^']+)'", str(error)):
        return f"{unknown[1]}: no such key{near_override(unknown[1], overrides)}"
    if isinstance(error, OmegaConfBaseException) and full_key:
        return f"{full_key}: {one_line(lines[0])}"
    return one_line(str(error).split("\nSee https://")[0])


def siblings(option: str, options: set[str]) -> list[str]:
    """The options of the same group."""
    group = option.split("/")[0]
    return [other for other in options if other.startswith(group + "/")]


def near_override(key: str, overrides: list[str]) -> str:
    """Compose again without the override that failed, and look what is near it there."""
    if "@" in key or not GlobalHydra.instance().is_initialized():
        return ""
    others = [o for o in overrides if o.lstrip("+~").split("=")[0] != key]
    try:
        node: Any = hydra.compose("config", overrides=others)
    except (HydraException, OmegaConfBaseException):
        return ""
    for name in key.split("."):
        if not isinstance(node, DictConfig) or name not in node:
            break
        node = node._get_node(name)
    return hint(name, map(str, node)) if isinstance(node, DictConfig) else ""


def saved(folder: Path, overrides: list[str]) -> dict[str, Any]:
    """The configuration that a run began with; what the command line gives beside it is refused."""
    file = folder / "config.yaml"
    if not file.exists():
        near = [str(f.parent) for f in folder.parent.glob("*/config.yaml")] if folder.parent.exists() else []
        raise UserError(f"resume: no run in {folder}{hint(str(folder), near)}")
    for override in overrides:
        name = override.lstrip("+~").split("=")[0]
        if name not in KEPT_OPEN:
            raise UserError(f"{name}: a resumed run keeps its settings ({', '.join(KEPT_OPEN)} may change); start a new one")
    tree = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(tree, dict)
    return {str(name): value for name, value in tree.items()}


def drift(before: Mapping[str, Any], overrides: list[str]) -> str:
    """How the same command would be configured today, where that differs; empty where it does not."""
    try:
        today = resolved(with_input(hydra.compose("config", overrides=overrides), overrides))
    except MISTAKES as error:
        return f"today's YAML no longer takes this run's command ({one_line(error)}); the saved config.yaml is used"
    old, new = dict(leaves(before, "")), dict(leaves(today, ""))
    keys = [k for k in {**old, **new} if old.get(k) != new.get(k) and k not in KEPT_OPEN]
    if not keys:
        return ""
    shown = ", ".join(f"{k} ({old.get(k, 'absent')} then, {new.get(k, 'absent')} now)" for k in keys[:5])
    more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
    return f"config.yaml differs from today's YAML: {shown}{more}; the saved values are used"


def leaves(tree: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every value with its full key."""
    if isinstance(tree, Mapping) and tree:
        for name, value in tree.items():
            yield from leaves(value, joined(key, str(name)))
    else:
        yield key, tree
