"""The multilayer perceptron."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from threestudio_like.fields.mlp import MLP


def made(num_inputs: int, num_outputs: int, **changes) -> MLP:
    settings = {"width": 7, "depth": 1, "activation": "relu", "bias": False, "zero": False, "exact": False}
    return MLP(num_inputs=num_inputs, num_outputs=num_outputs, **settings | changes)


def test_is_layers_with_activations_between():
    mlp = made(5, 2, depth=2, bias=True)
    first, second, third = (layer for layer in mlp.layers if isinstance(layer, torch.nn.Linear))
    x = torch.randn(3, 4, 5)
    torch.testing.assert_close(mlp(x), third(F.relu(second(F.relu(first(x))))))


def test_without_bias_is_homogeneous():
    mlp, x = made(5, 2, depth=2), torch.randn(4, 5)
    torch.testing.assert_close(mlp(3 * x), 3 * mlp(x))


def test_depth_zero_is_linear():
    mlp = made(5, 2, depth=0)
    assert [tuple(p.shape) for p in mlp.parameters()] == [(2, 5)]


@pytest.mark.parametrize("bias", [False, True])
def test_zero_starts_at_zero_and_can_leave_it(bias):
    mlp, x = made(5, 2, bias=bias, zero=True), torch.randn(4, 5)
    assert (mlp(x) == 0).all()
    mlp(x).sum().backward()
    assert mlp.layers[-1].weight.grad.abs().sum() > 0


def test_softplus_is_smooth():
    mlp = made(1, 1, width=16, activation="softplus", bias=True).double()
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None].requires_grad_()
    assert torch.autograd.gradgradcheck(mlp, (x,))
    (slope,) = torch.autograd.grad(mlp(x).sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    assert curvature.abs().max() > 0


def test_unknown_activation_is_an_error():
    with pytest.raises(ValueError, match="relu, softplus"):
        made(1, 1, activation="gelu")


def test_half_precision_is_inside_and_learns():
    mlp, x = made(5, 2), torch.randn(4, 5)
    whole = mlp(x)
    mlp.rough = torch.bfloat16
    half = mlp(x)
    assert half.dtype == torch.float32 and not torch.equal(half, whole)
    torch.testing.assert_close(half, whole, rtol=0.05, atol=0.02)
    half.sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in mlp.parameters())
