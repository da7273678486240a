"""The signature is the schema: a tree is checked against its constructors before anything is built."""

from __future__ import annotations

import inspect
import json
import math
import pkgutil
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from threestudio_like.run.errors import UserError, brief, hint, joined, one_line

HYDRA_KEYS = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")
MISSING = "???"
SCHEDULE = Callable[[int], float]
CONFIGS = Path(__file__).parents[2] / "configs"


def check(tree: Any, key: str) -> None:
    """Every part in `tree`, and every value in it: known, there, and of the type the constructor asks for."""
    if isinstance(tree, Mapping):
        for name, value in tree.items():  # first what it is made of: a part's class is asked for by its owner
            check(value, joined(key, str(name)))
        if "_target_" in tree:
            check_part(tree, key)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            check(value, joined(key, str(index)))


def check_part(part: Mapping[str, Any], key: str) -> None:
    """One `_target_` with its arguments."""
    target = located(part["_target_"], key)
    parameters = signature(target)
    if parameters is None:
        return
    title = getattr(target, "__name__", str(target))
    given = {name: value for name, value in part.items() if name not in HYDRA_KEYS}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {name: p for name, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    for name in given:
        if name not in named and not takes_any:
            raise UserError(f"{joined(key, name)}: {title} has no such setting{hint(name, named)}")
    if "_args_" in part and not any(p.kind is not p.KEYWORD_ONLY for p in parameters.values()):
        raise UserError(f"{joined(key, '_args_')}: {title} takes its settings by name")
    for name, parameter in named.items():
        required = parameter.default is parameter.empty and not part.get("_partial_") and "_args_" not in part
        if given.get(name, MISSING if required else None) == MISSING:
            raise UserError(f"{joined(key, name)}: required by {title}, not set")
    for name, value in given.items():
        if name in named:
            check_type(value, named[name].annotation, joined(key, name))
    if hasattr(target, "check_settings"):  # what a signature cannot say, such as which losses have weights
        try:
            target.check_settings(given)
        except ValueError as error:
            raise UserError(joined(key, str(error))) from error


def located(path: Any, key: str) -> Callable[..., Any]:
    """The class or function that `_target_` names; nothing of Python's own library, which makes no parts."""
    key = joined(key, "_target_")
    if not isinstance(path, str):
        raise UserError(f"{key}: expected a dotted path, got {path!r}")
    if own(path.partition(".")[0]):  # before it is imported
        raise UserError(f"{key}: {path!r} is Python's own, and no part")
    try:
        target = pkgutil.resolve_name(path)
    except ModuleNotFoundError as error:
        raise UserError(f"{key}: no module {error.name!r} (for {path!r})") from error
    except AttributeError as error:
        raise UserError(f"{key}: no class {path!r}{near(path)}") from error
    except ValueError as error:
        raise UserError(f"{key}: not a dotted path: {path!r}") from error
    except (ImportError, SyntaxError) as error:
        raise UserError(f"{key}: {path!r} cannot be imported ({one_line(error)})") from error
    if not callable(target):
        raise UserError(f"{key}: {path!r} is not a class or a function")
    if own(str(getattr(target, "__module__", None))):  # by another name: torch.os.system
        raise UserError(f"{key}: {path!r} is Python's own, and no part")
    return target


def own(module: str) -> bool:
    """Whether a module comes with Python: `os.system` is no part, and must never be called as one."""
    return module.partition(".")[0] in sys.stdlib_module_names


def near(path: str) -> str:
    """What is like the first name in the path that its module has not."""
    known, _, name = path.rpartition(".")
    try:
        names = dir(pkgutil.resolve_name(known))
    except AttributeError:
        return near(known)
    return hint(name, [other for other in names if not other.startswith("_")])


def signature(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """Its parameters, annotations evaluated where that is possible; None for what has no signature."""
    try:
        parameters = inspect.signature(target, eval_str=True).parameters
        if not hasattr(target, "_fields"):
            return parameters
        hints = typing.get_type_hints(
            target, include_extras=True
        )  # of a NamedTuple: its signature holds them as text
        return {name: p.replace(annotation=hints[name]) for name, p in parameters.items()}
    except NameError:  # annotations that only type checkers can see
        return inspect.signature(target).parameters
    except (ValueError, TypeError):
        return None


def check_type(value: Any, annotation: Any, key: str) -> None:
    """Raise if a YAML value cannot be what the annotation says."""
    if fits(value, annotation):
        return
    for name, item, kind in inside(value, annotation):  # the one that is wrong says it more clearly
        check_type(item, kind, joined(key, name))
    part = located(value["_target_"], key).__name__ if is_part(value) else ""
    got = f"a {part}" if part else shown(value)
    if isinstance(value, str) and is_class(annotation):
        swap = f"; to swap a part write {group_of(key)}@{key}={value}"
        raise UserError(f"{key}: expected a part ({annotation.__name__}), got {got}{swap}")
    if annotation == SCHEDULE and fits(value, float):
        raise UserError(
            f"{key}: expected a part with settings of its own, got {got}; write {key}.value={got}"
        )
    free = infinite(value) and fits(-1e9, annotation)  # a range says more
    kind = "a finite number" if free else title_of(annotation)
    raise UserError(f"{key}: expected {kind}, got {got}")


def infinite(value: Any) -> bool:
    """Whether it is infinity or no number."""
    return isinstance(value, float) and not math.isfinite(value)


def inside(value: Any, annotation: Any) -> list[tuple[str, Any, Any]]:
    """What a mapping or a list holds, each with its name and what it should be; nothing for other values."""
    choices, container = typing.get_args(annotation), typing.get_origin(annotation)
    if not inspect.isclass(container) or not choices or is_part(value):
        return []
    if isinstance(value, Mapping) and issubclass(container, Mapping):
        return [(str(name), item, choices[1]) for name, item in value.items()]
    if isinstance(value, list) and issubclass(container, (list, Iterable)) and len(choices) == 1:
        return [(str(index), item, choices[0]) for index, item in enumerate(value)]
    return []


def shown(value: Any) -> str:
    """The value as YAML would have it, or its beginning."""
    try:
        return brief(json.dumps(value, default=repr, ensure_ascii=False))
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "a number of thousands of digits"


def group_of(key: str) -> str:
    """The configuration group that fills a slot of this name, where the name tells."""
    slot = key.rpartition(".")[2]
    groups = [folder.name for folder in CONFIGS.iterdir() if folder.is_dir()]
    return next((group for group in groups if group in (slot, slot + "s")), "GROUP")


def title_of(annotation: Any) -> str:
    """`int`, `float or None`, `Geometry`."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(title_of(choice) for choice in typing.get_args(annotation)))
    if typing.get_origin(annotation) is Annotated:
        kind, *rules = typing.get_args(annotation)
        words = {int: "a whole number ", int | float: "a number "}.get(kind, "")
        return words + " and ".join(map(str, rules))
    if annotation is type(None):
        return "null"
    if typing.get_origin(annotation) is Callable:
        return "a part"
    return annotation.__name__ if inspect.isclass(annotation) else str(annotation).replace("typing.", "")


def is_part(value: Any) -> bool:
    """Whether Hydra will build something from it."""
    return isinstance(value, Mapping) and "_target_" in value


def is_class(annotation: Any) -> bool:
    """Whether only a part can be it: a class that YAML has no literal for."""
    plain = (bool, int, float, complex, str, bytes, list, tuple, dict, set, object, type(None), Path)
    return inspect.isclass(annotation) and annotation not in plain and not typing.get_origin(annotation)


def fits(value: Any, annotation: Any) -> bool:
    """Whether `value`, as YAML has it, can be an `annotation`; what cannot be judged fits."""
    origin, choices = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in (inspect.Parameter.empty, Any, object) or isinstance(annotation, (str, typing.TypeVar)):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, choice) for choice in choices)
    if origin is Annotated:  # ranges.py: a number that must lie somewhere
        held = (rule.holds(value) for rule in choices[1:] if hasattr(rule, "holds"))
        return fits(value, choices[0]) and (is_part(value) or all(held))
    if origin is typing.Literal:
        return value in choices
    if annotation is None or annotation is type(None):
        return value is None
    if is_part(value):
        return part_fits(value, origin or annotation)
    return literal_fits(value, annotation, origin or annotation, choices)


def literal_fits(value: Any, annotation: Any, container: Any, choices: tuple[Any, ...]) -> bool:
    """The same for numbers, words, lists and mappings."""
    if annotation is bool:
        return isinstance(value, bool)
    if annotation in (int, float):
        return isinstance(value, (int, annotation)) and not isinstance(value, bool) and not infinite(value)
    if annotation in (str, Path):
        return isinstance(value, str)
    if not inspect.isclass(container):
        return True
    if hasattr(container, "_fields"):  # a record has names; a list of its values would have none
        return value == MISSING
    if issubclass(container, Mapping):
        return isinstance(value, Mapping) and items_fit(list(value.values()), list, choices[1:])
    if issubclass(container, (list, tuple, set)) or container.__module__ == "collections.abc":
        return container is not Callable and isinstance(value, list) and items_fit(value, container, choices)
    return not isinstance(value, (str, int, float, bool, list, Mapping, type(None))) or value == MISSING


def items_fit(values: list[Any], container: Any, choices: tuple[Any, ...]) -> bool:
    """Each item of a list; `tuple[A, B]` also fixes their number."""
    if container is tuple and choices and choices[-1] is not Ellipsis:
        return len(values) == len(choices) and all(fits(v, c) for v, c in zip(values, choices, strict=True))
    return not choices or all(fits(value, choices[0]) for value in values)


def part_fits(part: Mapping[str, Any], wanted: Any) -> bool:
    """A part's class against the class asked for; factories, and partly applied ones, are not looked into."""
    target = pkgutil.resolve_name(part["_target_"]) if isinstance(part["_target_"], str) else None
    if wanted in (bool, int, float, str):
        return not inspect.isclass(target) or issubclass(target, wanted)
    if not inspect.isclass(wanted) or not inspect.isclass(target):
        return True
    if getattr(wanted, "_is_protocol", False) or wanted in (Iterable, Callable, Mapping):
        return True
    if part.get("_partial_"):  # nothing of its class yet
        return False
    return wanted.__module__.startswith("jaxtyping") or issubclass(target, wanted)
