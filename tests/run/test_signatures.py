"""Every way in which a YAML value can fail to be an argument."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import pytest
from torch import nn

from threestudio_like.data.draw import Light
from threestudio_like.run.errors import UserError
from threestudio_like.run.signatures import check, fits

LINEAR = {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1}


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (1, int, True),
        (1.0, int, False),
        (True, int, False),
        (1, float, True),
        ("1", float, False),
        (None, float | None, True),
        (None, float, False),
        (1, bool, False),
        ([1, 2], Sequence[int], True),
        ([1, 2.5], Sequence[int], False),
        ("ab", Sequence[str], False),
        ([1, 2], tuple[int, int], True),
        ([1, 2, 3], tuple[int, int], False),
        ([1, 2, 3], tuple[int, ...], True),
        ({"a": 1}, Mapping[str, int], True),
        ({"a": "x"}, Mapping[str, int], False),
        ("x", Literal["x", "y"], True),
        ("z", Literal["x", "y"], False),
        (LINEAR, nn.Module, True),
        (LINEAR, nn.Conv2d, False),
        ({**LINEAR, "_partial_": True}, Callable[..., nn.Module], True),
        (LINEAR, float | Callable[[int], float], True),
        (3, Callable[[int], float], False),
        ("sdf", nn.Module, False),
        ({"a": 1}, nn.Module, False),
        ([0.1, 1, 1], Light, False),
        ("anything", Any, True),
    ],
)
def test_fits(value: Any, annotation: Any, expected: bool) -> None:
    assert fits(value, annotation) is expected


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"in_feature": 1}, "a.in_feature: Linear has no such setting; did you mean 'in_features'?"),
        ({"out_features": "???"}, "a.out_features: required by Linear, not set"),
        ({"out_features": "x"}, 'a.out_features: expected int, got "x"'),
        ({"_target_": "torch.nn.Liner"}, "a._target_: no class 'torch.nn.Liner'; did you mean 'Linear'?"),
        ({"_target_": "torch.nnn.Linear"}, "a._target_: no class 'torch.nnn.Linear'; did you mean 'nn'"),
        ({"_target_": "torch nn"}, "a._target_: not a dotted path"),
        ({"_target_": 3}, "a._target_: expected a dotted path, got 3"),
    ],
)
def test_mistakes(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        check({**LINEAR, **changes}, "a")


def test_nested_keys() -> None:
    with pytest.raises(
        UserError, match=r"a.weights.rgb.1.bia: Linear has no such setting; did you mean 'bias'\?"
    ):
        check({"weights": {"rgb": [LINEAR, {**LINEAR, "bia": 1}]}}, "a")


def test_partial_needs_only_what_it_has() -> None:
    check({"_target_": "torch.nn.Linear", "_partial_": True, "bias": False}, "a")


def test_records_are_checked_like_classes():
    node = {"_target_": "threestudio_like.export.model.Texture", "size": "abc", "padding": 4}
    node |= {"smoothing": 20, "normal_map": False, "sharpness": None}
    with pytest.raises(UserError, match="export.texture.size: expected a whole number from 1 to 16384"):
        check(node, "export.texture")
