"""Adapters to packages that are seldom installed: with stand-ins for those, and with themselves on a GPU."""

import importlib
import importlib.machinery
import sys
import types

import pytest
import torch
from torch import Tensor


@pytest.fixture
def adapter(monkeypatch):
    """Imports the adapter to a package, whose functions are the given ones instead."""
    before = {}

    def load(name, module=None, **functions):
        path = f"threestudio_like.ops.backends.{name}"
        before[path] = sys.modules.pop(path, None)
        for part in filter(None, (name, module)):
            package = types.ModuleType(part)
            package.__spec__ = importlib.machinery.ModuleSpec(part, None)
            monkeypatch.setitem(sys.modules, part, package)
        for key, function in functions.items():
            setattr(sys.modules[module or name], key, function)
        if module is not None:
            setattr(sys.modules[name], module.rpartition(".")[2], sys.modules[module])
        return importlib.import_module(path)

    yield load
    for path, real in before.items():
        del sys.modules[path]
        if real is not None:
            sys.modules[path] = real


@pytest.fixture
def gradients():
    """Values of a function of tensors, and gradients of their sum with fixed random weights."""

    def evaluate(function, *tensors, device="cpu"):
        leaves = [tensor.detach().to(device).clone().requires_grad_() for tensor in tensors]
        results = function(*leaves)
        results = [results] if isinstance(results, Tensor) else list(results)
        generator = torch.Generator().manual_seed(1)
        weights = [torch.randn(result.shape, generator=generator).to(result) for result in results]
        total = sum((result * weight).sum() for result, weight in zip(results, weights, strict=True))
        found = torch.autograd.grad(total, leaves)
        return [value.detach().cpu() for value in results], [value.cpu() for value in found]

    return evaluate
