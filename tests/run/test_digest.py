"""Trees that torch gives back are told apart by one number."""

import copy
import io
from collections import OrderedDict

import pytest
import torch

from threestudio_like.run.digest import digest

TREE = {
    "weights": OrderedDict(
        a=torch.arange(6.0).reshape(2, 3),
        half=torch.ones(2, dtype=torch.bfloat16),
        turned=torch.arange(6.0).reshape(2, 3).T,  # not contiguous
        count=torch.tensor(3),
        none=torch.zeros(0),
        sure=torch.tensor([True, False]),
    ),
    "groups": [{"lr": 0.1, "betas": (0.9, 0.99), "fused": None}],
    "loops": {"a": {"b": 1}, 0: "x", "yes": True},
}


def test_what_is_read_back_has_the_same() -> None:
    file = io.BytesIO()
    torch.save(TREE, file)
    file.seek(0)
    assert digest(torch.load(file, weights_only=True)) == digest(TREE) == digest(copy.deepcopy(TREE))
    assert len(digest(TREE)) == 64


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(2), torch.zeros(2, 1)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
        (torch.tensor(1.0), torch.tensor(1.0 + 2**-23)),
        (torch.tensor([0.0]), torch.tensor([-0.0])),
        (torch.arange(4.0).reshape(2, 2), torch.arange(4.0).reshape(2, 2).T),
        (torch.tensor(1.0), 1.0),
        (1, True),
        (1, 1.0),
        (1, "1"),
        ((1, 2), [1, 2]),
        ([1, [2]], [[1], 2]),
        (["a", "b"], ["ab"]),
        ({"a": None}, {}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": {"b": 1}}, {"a": {}, "b": 1}),
    ],
)
def test_what_differs_differs(one: object, other: object) -> None:
    assert digest(one) != digest(other)
    assert digest({"in": [one]}) != digest({"in": [other]})
