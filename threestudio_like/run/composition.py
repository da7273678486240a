"""Hydra's side of a run: the composed tree as plain values, its mistakes as one line, and the saved one."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from threestudio_like.files import Unwritable
from threestudio_like.run.arguments import several_experiments
from threestudio_like.run.errors import UserError, brief, hint, joined, one_line
from threestudio_like.run.inputs import AUTO, SOURCES, at, check_words, given, source, with_input
from threestudio_like.run.plan import check_plan
from threestudio_like.run.trust import check_loaded

MISTAKES = (UserError, Unwritable, HydraException, OmegaConfBaseException, yaml.YAMLError)
USERS = {"ValueError", "FileNotFoundError", "MisconfigurationException"}  # what a constructor says to them
KEPT_OPEN = (
    "resume",
    "reuse",
    "plan",
    "ops.backend",
    "tags",
    "note",
    "dry",
    "viewer",
)  # may change in a resume
UNKNOWN = r"Could not (?:override|delete from config.) '([^']+)'"  # Hydra's words for a key that is not there
MOST = 60  # options of a group that are listed
LEFT_OUT = ("export", "score", "report")  # what an experiment may be without
EXPORT, VIEWER = "export.", "viewer."  # and all keys below them


def tree_of(config: DictConfig, overrides: list[str]) -> dict[str, Any]:
    """What will run, as plain values: a new run's, or that of the run to go on with; files are looked for."""
    check_words(config)
    if config.resume in (None, AUTO):
        tree = resolved(with_input(config, overrides))
    else:
        tree = saved(at(config.resume), overrides, config)
        for key in ("plan", "tags", "note"):
            if given(key, overrides):
                tree[key] = list(config[key]) if OmegaConf.is_list(config[key]) else config[key]
        viewer = config.get("viewer")  # it looks at a run, and is no part of it
        tree["viewer"] = None if viewer is None else OmegaConf.to_container(viewer, resolve=True)
    check_plan(tree)
    return tree


def resolved(config: DictConfig) -> dict[str, Any]:
    """The tree with every interpolation filled in, as plain dictionaries and lists."""
    unread(config)
    tree = OmegaConf.to_container(config, resolve=True)
    assert isinstance(tree, dict)
    return {str(name): value for name, value in tree.items()}


def unread(config: DictConfig) -> None:
    """A key at the root that the root does not have, and nothing refers to, is a typo."""
    known = OmegaConf.load(Path(__file__).parents[2] / "configs" / "config.yaml")
    names = {*map(str, known), "ops", "stages", "viewer"} - {"defaults", "hydra"}
    text = OmegaConf.to_yaml(config)
    for name in map(str, config):
        if name == "experiment":  # it went where its group is, and not to the root
            raise UserError(f"{name}: its YAML is empty, or does not begin with the line # @package _global_")
        if name not in names and not re.search(r"\$\{" + re.escape(name) + r"\b", text):
            raise UserError(f"{name}: nothing reads this key{hint(name, names)}")


def build(node: Mapping[str, Any], key: str) -> Any:
    """Instantiate one part; a ValueError of its constructor becomes one line that names the full key."""
    try:
        return hydra.utils.instantiate(literal(node), _convert_="all")
    except InstantiationException as error:
        failed = error
    told = explained(failed, node, key)
    if told is failed.__cause__:  # raised as it was, outside of the handler: it shall not come from itself
        raise told
    raise told from failed


def literal(tree: Any) -> Any:
    """A resolved tree in which `${` is two characters of a prompt: Hydra would resolve it again."""
    if isinstance(tree, Mapping):
        return {name: literal(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [literal(value) for value in tree]
    if isinstance(tree, str) and "${" in tree:
        return {"_target_": f"{__name__}.glued", "pieces": re.split(r"(?<=\$)(?=\{)", tree)}
    return tree


def glued(*, pieces: list[str]) -> str:
    """What `literal` took apart."""
    return "".join(pieces)


def explained(error: InstantiationException, node: Mapping[str, Any], key: str) -> BaseException:
    """Whose mistake it is: the user's, as a UserError; or ours, as it was raised."""
    cause = error.__cause__
    names = {kind.__name__ for kind in type(cause).__mro__}
    short = "MemoryError" in names or "allocate memory" in str(cause)  # torch's own is a RuntimeError
    if cause is not None and not short and not names & USERS:
        return cause
    inner = re.search(r"full_key: (\S+)", str(error))
    for name in inner[1].split(".") if inner else []:
        node = node.get(name, {}) if isinstance(node, Mapping) else {}
    where = joined(key, inner[1] if inner else "")
    text = (
        "needs more memory than there is" if short else one_line(cause or str(error).split("\nfull_key")[0])
    )
    if text.startswith(key + "."):
        return UserError(text)
    begins = re.match(r"(\w+)(\.\w+)*: ", text)  # a constructor that names its own argument
    return UserError(f"{where}.{text}" if begins and begins[1] in node else f"{where}: {text}")


def mistaken(error: BaseException) -> bool:
    """Whether the user can mend it: a mistake that we name, or what stops Hydra before our code begins."""
    frames = [frame.f_globals["__name__"] for frame, _ in traceback.walk_tb(error.__traceback__)]
    begun = any(name.startswith(("threestudio_like.", "systems.")) for name in frames)
    stops = (ValueError, OSError, RecursionError)
    return isinstance(error, MISTAKES) or isinstance(error, stops) and not begun


def said(error: BaseException, arguments: list[str], configs: Path) -> str:
    """A mistake that Hydra or OmegaConf found, in one line, with the nearest name where there is one."""
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}; write key=value"
    if isinstance(error, OSError) and error.filename:  # Hydra's own mistakes are nameless OSErrors
        return f"cannot write in {str(error.filename)!r} ({error.strerror})"
    if about := damaged(error, arguments):
        return about
    lines = str(error).splitlines() or [type(error).__name__]
    full_key = re.search(r"^\s*full_key: (\S+)", str(error), flags=re.MULTILINE)
    if missing := re.search(r"In '([^']+)': Could not (?:find|load) '([^'/]+)/([^']*)'", str(error)):
        return no_option(missing[1], missing[2], missing[3], arguments, configs)
    unknown = re.search(UNKNOWN, str(error))
    if unknown and f"~{unknown[1]}" in arguments and unknown[1] in LEFT_OUT:  # it is null
        return f"~{unknown[1]}: nothing to leave out; the experiment has none"
    if unknown and any(re.match("resume=(?!auto$)", word) for word in arguments):
        return f"{unknown[1]}: a resumed run keeps its settings"
    if unknown and several_experiments(arguments):
        return f"{unknown[1]}: not in every experiment of the sweep"
    if unknown:
        return f"{unknown[1]}: no such key{near_override(unknown[1], arguments, configs)}"
    if valued := re.search(r"Could not delete from config. The value of '([^']+)' is", str(error)):
        return f"~{valued[1]}: expected no value, or the one that is there"
    if absent := re.search(r"Could not delete '([^']+)'. No match in the defaults list", str(error)):
        return f"~{absent[1]}: nothing to leave out; the experiment has none"
    if isinstance(error, OmegaConfBaseException) and full_key:
        return f"{full_key[1]}: {one_line(lines[0])}"
    if "group override must be" in str(error):
        for group, option in chosen(arguments):
            options = siblings(group, [configs, *more_configs(arguments)])
            if options and option not in options:
                return f"{group}: no option {option!r}{hint(option, options, few=MOST)}"
    if merged := re.match(r"Error merging override ([^=]+)=(.*)", str(error)):
        return f"{merged[1]}: {merged[2]} cannot take the place of what is there; `--cfg job` shows it"
    text = one_line(re.split(r"\n(?:See https://|Config search path:)", str(error))[0])
    return text or (said(error.__cause__, arguments, configs) if error.__cause__ else lines[0])


def no_option(where: str, group: str, option: str, arguments: list[str], configs: Path) -> str:
    """That a defaults list, or the command line, asks for what a group does not have."""
    if group == "hydra":  # its own groups are one folder deeper, and others add to them
        kind, _, option = option.partition("/")
        group = f"hydra/{kind}"
        if where.startswith(group):  # one of our presets, of a launcher that is not installed
            extra = "ray" if option == "ray" else "sweep"
            return f"{group}: {option} is not there; pip install 'threestudio-like[{extra}]'"
        where = "config"
        store = [name.removesuffix(".yaml") for name in ConfigStore.instance().list(group)]
        options = [*siblings(group, [configs]), *store]
    else:
        options = siblings(group, [configs, *more_configs(arguments)])
    typed = where == "config" or any(word.endswith(f"={option}") for word in arguments)
    asks = "" if typed else f"configs/{where}.yaml: "
    return f"{asks}{group}: no option {option!r}{hint(option, options, few=MOST)}"


def damaged(error: BaseException, arguments: list[str]) -> str:
    """What is wrong with a YAML file that cannot be read, and where; nothing for other errors."""
    if isinstance(error, RecursionError):
        return "the defaults lists of the YAML files lead back to each other"
    if isinstance(error, UnicodeDecodeError):
        files = [file for folder in more_configs(arguments) for file in sorted(folder.rglob("*.yaml"))]
        guilty = [file for file in files if error.object == file.read_bytes()]
        return f"{guilty[0] if guilty else 'a YAML file'}: expected UTF-8 ({error.reason} at {error.start})"
    if isinstance(error, yaml.reader.ReaderError):
        return f"{error.name}: character {error.position}: {error.reason}"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{mark.name}: line {mark.line + 1}, column {mark.column + 1}: {one_line(error.problem)}"
    if isinstance(error, yaml.YAMLError):
        return f"not YAML: {one_line(error)}"
    names = [f"{group}/{option}.yaml" for group, option in chosen(arguments)]
    for file in (folder / name for folder in more_configs(arguments) for name in names):
        with suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
            if not isinstance(found := yaml.safe_load(file.read_bytes()), (dict, type(None))):
                return f"{file}: expected keys and their values, got {brief(repr(found))}"
    return ""


def chosen(arguments: list[str]) -> list[tuple[str, str]]:
    """What the command line asks for that may be a group and its option."""
    return re.findall(r"(?m)^[+~]*([\w/]+)(?:@[\w.]+)?=(.*)$", "\n".join(arguments))


def siblings(group: str, folders: list[Path]) -> list[str]:
    """All options of a group."""
    homes = [folder / group for folder in folders]
    files = [(file, home) for home in homes for file in home.rglob("*.yaml") if file.is_file()]
    return [str(file.relative_to(home).with_suffix("")) for file, home in files]


def more_configs(arguments: list[str]) -> list[Path]:
    """Folders that the command line adds with --config-dir."""
    text = "\0".join(arguments)
    return [Path(folder) for folder in re.findall(r"(?:^|\0)(?:--config-dir|-cd)[=\0]([^\0]+)", text)]


def near_override(key: str, arguments: list[str], configs: Path, without: tuple[str, ...] = ()) -> str:
    """Compose again without the override that failed, nor others that do, and look what is near it there."""
    overrides = [a for a in arguments if ("=" in a or a.startswith("~")) and not a.startswith("-")]
    others = [o for o in overrides if o.lstrip("+~").split("=")[0] not in (key, *without)]
    paths = ", ".join(f"file://{folder.resolve()}" for folder in more_configs(arguments))
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(configs), version_base="1.3"):
            node: Any = hydra.compose("config", overrides=[*others, f"hydra.searchpath=[{paths}]"])
    except (HydraException, OmegaConfBaseException) as error:
        other = re.search(UNKNOWN, str(error))
        if other is None or other[1] in without:
            return ""
        return near_override(key, arguments, configs, (*without, other[1]))
    for name in key.split("@")[-1].split("."):
        if not isinstance(node, DictConfig) or name not in node:
            if not isinstance(node, DictConfig):
                return ""
            groups = [] if node._get_parent() else ["experiment"]  # chosen like a key
            return hint(name, [*map(str, node), *groups])
        node = node._get_node(name)
    return ""


def saved(folder: Path, overrides: list[str], config: DictConfig) -> dict[str, Any]:
    """The configuration that a run began with, and `config`'s export where the command line gives some.

    Anything else that it gives beside must be what the run has.
    """
    file = run_in(folder) / "config.yaml"
    before = plain(file)
    check_loaded(before, str(file))
    try:
        check_plan(before)
    except UserError as error:
        raise UserError(f"resume: {file}: {error}") from error
    tree, values = OmegaConf.create(before), dict(leaves(before, ""))
    for override in overrides:
        name = override.lstrip("+~").split("=")[0]
        value = OmegaConf.select(config, name)
        if name in SOURCES and value is not None:
            value = source(name, value)
        if name.startswith(EXPORT) and not override.startswith("~"):
            OmegaConf.update(tree, name, value, force_add=True)
        elif override.startswith("~"):
            raise UserError(f"{override}: a resumed run keeps its steps; only a new one leaves any out")
        elif not may_change(name) and (name not in values or values[name] != value):
            free = ", ".join((*KEPT_OPEN, f"{EXPORT}*"))
            raise UserError(f"{name}: a resumed run keeps its settings ({free} may change); start a new one")
    changed = OmegaConf.to_container(tree)
    assert isinstance(changed, dict)
    return {str(name): value for name, value in changed.items()}


def may_change(name: str) -> bool:
    """Whether a run that goes on may have another value there."""
    return name in KEPT_OPEN or name.startswith((EXPORT, VIEWER))


def plain(file: Path, key: str = "resume") -> dict[str, Any]:
    """A YAML file that a run wrote, as plain values; `key` is what led to it."""
    try:
        tree = OmegaConf.to_container(OmegaConf.load(file))
    except Exception as error:  # damaged bytes: PyYAML's own errors, which have no door here, and others
        raise UserError(f"{key}: {file} cannot be read ({one_line(error)})") from error
    if not isinstance(tree, dict):
        raise UserError(f"{key}: {file} is not the configuration of a run")
    return {str(name): value for name, value in tree.items()}


def run_in(folder: Path) -> Path:
    """The folder itself if a run left its record there."""
    try:
        if all((folder / name).is_file() for name in ("config.yaml", "run.json")):
            return folder
        if run := next((above for above in folder.parents if (above / "run.json").is_file()), None):
            raise UserError(f"resume: no run in {folder}, which is a part of one; write resume={run}")
        if folder.is_file():
            raise UserError(f"resume: {folder} is a file; expected the folder of a run")
        inside, beside = ([f.parent for f in place.glob("*/run.json")] for place in (folder, folder.parent))
    except OSError as error:
        raise UserError(f"resume: cannot read {folder} ({error.strerror})") from error
    raise UserError(f"resume: no run in {folder}{hint(str(folder), map(str, inside or beside))}")


def drift(before: Mapping[str, Any], overrides: list[str]) -> str:
    """How the same command would be configured today, where that differs; empty where it does not."""
    try:
        today = resolved(with_input(hydra.compose("config", overrides=overrides), overrides))
    except MISTAKES as error:
        return f"today's YAML no longer takes this run's command ({one_line(error)}); config.yaml is used"
    old, new = dict(leaves(before, "")), dict(leaves(today, ""))
    keys = [k for k in {**old, **new} if old.get(k) != new.get(k) and not may_change(k)]
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
