"""Tensors of a checkpoint, and nothing else of it."""

import os
import pickle
import sys
import types

import layouts
import pytest
import torch

from threestudio_like.priors.checkpoint import tensors


class Bomb:
    """What a malicious checkpoint would run."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def test_what_trained_it_is_left_out(tmp_path, monkeypatch):
    """Lightning's callbacks, which torch's safe reading refuses, do not stand in the way of the tensors."""
    module = types.ModuleType("gone.callbacks")
    module.Keeper = type("Keeper", (), {"__module__": "gone.callbacks"})
    monkeypatch.setitem(sys.modules, "gone", types.ModuleType("gone"))
    monkeypatch.setitem(sys.modules, "gone.callbacks", module)
    keeper = module.Keeper()
    keeper.best = 0.5
    state = {"a.weight": torch.rand(2)}
    path = layouts.zero123_file(tmp_path / "net.ckpt", state, callbacks={module.Keeper: keeper})
    monkeypatch.undo()  # this machine does not have it
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    found = tensors(path)
    assert list(found) == ["a.weight"] and torch.equal(found["a.weight"], state["a.weight"])


def test_code_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = layouts.zero123_file(tmp_path / "net.ckpt", {"a": torch.rand(2)}, extra=Bomb())
    try:
        tensors(path)
    except ValueError as error:
        assert "cannot be read as tensors" in str(error)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["net.ckpt", "net.safetensors"])
def test_what_is_no_checkpoint_is_said(tmp_path, name):
    (tmp_path / name).write_bytes(b"<html>404</html>")
    with pytest.raises(ValueError, match=r"^weights: .* is not a [^\n]*$"):
        tensors(tmp_path / name)
