"""What an optimiser must hold to go on: names, shapes and kinds of what it would hold had it moved here.

torch takes moments of any shape from a checkpoint, and settings of any kind, and ends in its own arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def wrong_in(loaded: Optimizer, fresh: Optimizer, steps: int) -> str:
    """What in the loaded one's state is not as it must be after so many steps; empty if nothing.

    fresh: another of the same parameters, to be used up: it moves once, on parameters without values.
    """
    wanted, own = moved(fresh), loaded.state_dict()
    if wanted is None:
        return ""
    for index, (group, other) in enumerate(zip(own["param_groups"], wanted["param_groups"], strict=True)):
        for name, value in other.items():
            if not alike(group.get(name), value):
                return f"param_groups.{index}.{name} is not of its kind"
    if steps > 0 and not own["state"] and any(wanted["state"].values()):
        return "state is empty"
    for number, moments in own["state"].items():
        for name, value in wanted["state"].get(number, {}).items():
            key = f"state.{number}.{name}"
            if not alike(moments.get(name), value):
                return f"{key} is not of its kind or shape"
            if name == "step" and not 0 <= float(moments[name]) <= steps:
                return f"{key} is not in 0..{steps}"
    return ""


def moved(optimizer: Optimizer) -> dict[str, Any] | None:
    """Its state after a step that needs no memory; None of one that does not step so."""
    for group in optimizer.param_groups:
        group["params"] = [hollow(parameter) for parameter in group["params"]]
    try:
        optimizer.step()
    except Exception:  # it needs a closure, or values: then there is nothing to compare with
        return None
    return optimizer.state_dict()


def hollow(parameter: Tensor) -> nn.Parameter:
    """A parameter and its gradient without values."""
    found = nn.Parameter(torch.empty_like(parameter, device="meta"))
    found.grad = torch.empty_like(found)
    return found


def alike(value: Any, wanted: Any) -> bool:
    """Whether both are tensors of one shape, numbers, or sequences of such; what is None may be anything."""
    if isinstance(wanted, Tensor):
        kinds = isinstance(value, Tensor) and value.is_floating_point() == wanted.is_floating_point()
        return kinds and value.shape == wanted.shape
    if isinstance(wanted, bool):
        return isinstance(value, bool)
    if isinstance(wanted, int | float):
        return isinstance(value, int | float)
    if isinstance(wanted, list | tuple):
        same = isinstance(value, list | tuple) and len(value) == len(wanted)
        return same and all(map(alike, value, wanted))
    return True
