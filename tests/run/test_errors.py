"""The nearest name, and whose mistake it is."""

import pytest
import torch

from threestudio_like.run.errors import UserError, hint, joined, mistakes, one_line


def test_hint() -> None:
    assert hint("coarze", ["coarse", "fine"]) == "; did you mean 'coarse'?"
    assert hint("x", ["coarse", "fine"]) == "; choose one of: coarse, fine"
    assert hint("x", []) == "" and hint("x", map(str, range(100))) == ""


def test_one_line() -> None:
    assert one_line("a.\n\n  b\nc") == "a; b; c" and joined("a", "", "b") == "a.b"


def test_our_value_errors_are_the_users() -> None:
    with pytest.raises(UserError, match="stages.coarse: bad"), mistakes("stages.coarse"):
        raise ValueError("bad")


def test_a_line_may_name_its_own_key() -> None:
    with pytest.raises(UserError, match="^image: bad"), mistakes("stages.coarse", own=("image: ",)):
        raise ValueError("image: bad")


def test_others_are_bugs() -> None:
    with pytest.raises(ValueError, match="probability") as caught, mistakes("stages.coarse"):
        torch.nn.Dropout(2.0)
    assert not isinstance(caught.value, UserError)
    with pytest.raises(RuntimeError), mistakes("stages.coarse"):
        torch.zeros(2).view(3)
