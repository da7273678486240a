"""hashgrid by Triton: tables of every kind, points outside, and gradients of gradients."""

import pytest
import torch

from threestudio_like.ops import dispatch
from threestudio_like.ops.hashgrid import hashgrid

RESOLUTIONS = (4, 17)  # dense and hashed, in 2^9 rows


def case(num_points, features, kind=torch.float32):
    generator = torch.Generator().manual_seed(num_points)
    points = 1.2 * torch.rand(num_points, 3, generator=generator) - 0.1
    return points, torch.rand(2, 2**9, features, generator=generator).to(kind), RESOLUTIONS


@pytest.mark.parametrize(("num_points", "features"), [(300, 2), (7, 3)])
def test_values_and_gradients_are_the_reference_s(agrees, num_points, features):
    agrees(hashgrid, *case(num_points, features))


def test_no_points_have_no_features(device):
    points, table, _ = case(0, 2)
    found = dispatch._load("hashgrid", "triton")(points.to(device), table.to(device), RESOLUTIONS)
    assert found.shape == (0, 4)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_table_of_half_precision_is_read_as_it_is_and_its_gradient_summed_in_float32(device, kind):
    points, table, _ = case(100, 2, kind)
    narrow, wide = table.to(device).requires_grad_(), table.float().requires_grad_()
    found = dispatch._load("hashgrid", "triton")(points.to(device), narrow, RESOLUTIONS)
    expected = hashgrid.reference(points, wide, RESOLUTIONS)
    torch.testing.assert_close(found.cpu(), expected)
    grad = torch.randn(expected.shape)
    (found,) = torch.autograd.grad(found, narrow, grad.to(device))
    (expected,) = torch.autograd.grad(expected, wide, grad)
    assert found.dtype == kind
    # rounded once, whatever the number of points that share a row
    torch.testing.assert_close(found.cpu().float(), expected, atol=1e-6, rtol=torch.finfo(kind).eps)


def twice(function, points, table, grad, along, rows):
    """Gradients of the first gradients, weighted."""
    points, table, grad = (value.clone().requires_grad_() for value in (points, table, grad))
    out = function(points, table, RESOLUTIONS)
    first = torch.autograd.grad(out, (points, table), grad, create_graph=True)
    return torch.autograd.grad((first[0] * along).sum() + (first[1] * rows).sum(), (points, table, grad))


def test_gradients_can_be_differentiated(device):
    points, table, _ = case(50, 2)
    torch.manual_seed(0)
    args = points, table, torch.randn(50, 4), torch.randn(50, 3), torch.randn(2, 2**9, 2)
    expected = twice(hashgrid.reference, *args)
    found = twice(dispatch._load("hashgrid", "triton"), *(value.to(device) for value in args))
    for one, other in zip(found, expected, strict=True):
        size = other.abs().max()
        torch.testing.assert_close(one.cpu() / size, other / size, atol=1e-5, rtol=0)


def test_a_nan_is_not_hidden(device):
    points, table, _ = case(5, 2)
    points[2, 1] = torch.nan
    found = dispatch._load("hashgrid", "triton")(points.to(device), table.to(device), RESOLUTIONS)
    assert found[2].isnan().all()
    assert found[[0, 1, 3, 4]].isfinite().all()
