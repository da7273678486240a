"""Triton's kernels against the references: on a GPU where there is one, else interpreted, on small sizes."""

import os

import pytest
import torch
from torch import Tensor

from threestudio_like.ops import dispatch

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"


@pytest.hookimpl(tryfirst=True)  # before those marked gpu are left out
def pytest_collection_modifyitems(items):
    """Of this folder: `gpu` says where they run; numpy warns of what masks then hide."""
    for item in items:
        if item.path.is_relative_to(os.path.dirname(__file__)):
            item.add_marker(pytest.mark.filterwarnings("ignore::RuntimeWarning"))
            if DEVICE == "cuda":
                item.add_marker(pytest.mark.gpu)


@pytest.fixture(autouse=True)
def _references_and_triton_alone():
    if not dispatch.installed("triton"):
        pytest.skip(f"Triton is not installed: {dispatch.BACKENDS['triton'].install}")
    dispatch.use("torch")  # a reference may call other ops
    yield
    dispatch.use("auto")


def leaves(value):
    """The tensors in arguments or a result."""
    if isinstance(value, Tensor):
        return [value]
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple) else []


def prepared(value, device):
    """The same arguments on a device, floating tensors asking for gradients."""
    if isinstance(value, Tensor):
        moved = value.detach().to(device).clone()
        return moved.requires_grad_() if value.is_floating_point() else moved
    if isinstance(value, tuple):
        parts = [prepared(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def outcome(function, args, device):
    """Results, and gradients of their sum with random weights to every floating argument that has one."""
    args = prepared(args, device)
    results = leaves(function(*args))
    smooth = [result for result in results if result.requires_grad]
    gradients = ()
    if smooth:
        torch.manual_seed(1)
        total = sum((result * torch.randn(result.shape).to(result)).sum() for result in smooth)
        inputs = [leaf for leaf in leaves(args) if leaf.requires_grad]
        gradients = torch.autograd.grad(total, inputs, allow_unused=True)
    return [result.detach().cpu() for result in results], [g if g is None else g.cpu() for g in gradients]


def agrees(op, *args, tolerance=1e-5):
    """Values, and gradients by their largest, are the reference's."""
    found, found_gradients = outcome(dispatch._load(op.__name__, "triton"), args, DEVICE)
    expected, expected_gradients = outcome(op.reference, args, "cpu")
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)
    for one, other in zip(found_gradients, expected_gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            size = other.abs().max()
            assert size > 0
            torch.testing.assert_close(one / size, other / size, atol=tolerance, rtol=0)


@pytest.fixture(name="agrees")
def _agrees():
    return agrees


@pytest.fixture
def device():
    return DEVICE
