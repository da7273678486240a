"""The hash grid against brute force, against finite differences, and the backend against the reference."""

from __future__ import annotations

import math

import pytest
import torch

from threestudio_like.ops import dispatch
from threestudio_like.ops.hashgrid import growing_resolutions, hashgrid

reference = hashgrid.reference
numba_only = pytest.mark.skipif(not dispatch.installed("numba"), reason="numba is not installed")


def made(num_points: int, levels: int, size: int, width: int, dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(num_points, 3, generator=generator, dtype=dtype)
    return points, torch.randn(levels, size, width, generator=generator, dtype=dtype)


def test_resolutions_are_the_papers():
    assert growing_resolutions(1, 16, 512) == (16,)
    assert growing_resolutions(16, 16, 4096)[:5] == (16, 23, 33, 48, 70)
    assert growing_resolutions(16, 16, 4096)[-1] == 4096
    assert growing_resolutions(6, 16, 512) == (16, 32, 64, 128, 256, 512)


@pytest.mark.parametrize(("resolution", "size"), [(5, 256), (3, 64)])  # with rows to spare, and with none
def test_dense_level_interpolates_its_grid(resolution, size):
    side = resolution + 1
    values = torch.randn(side, side, side, dtype=torch.float64)  # z y x
    table = torch.zeros(1, size, 1, dtype=torch.float64)
    table[0, : side**3, 0] = values.flatten()
    points = torch.rand(50, 3, dtype=torch.float64)
    expected = torch.nn.functional.grid_sample(
        values[None, None], points[None, None, None] * 2 - 1, align_corners=True
    )
    torch.testing.assert_close(reference(points, table, (resolution,))[:, 0], expected.flatten())


def test_hashed_level_reads_the_papers_rows():
    size, resolution = 64, 50
    points, table = made(20, 1, size, 3, torch.float64)
    expected = torch.zeros(20, 3, dtype=torch.float64)
    for n, point in enumerate((points * resolution).tolist()):
        for corner in range(8):
            weight, row = 1.0, 0
            for axis, prime in enumerate((1, 2654435761, 805459861)):
                bit = corner >> axis & 1
                cell = math.floor(point[axis])
                weight *= point[axis] - cell if bit else 1 - point[axis] + cell
                row ^= (cell + bit) * prime % 2**32
            expected[n] += weight * table[0, row % size]
    torch.testing.assert_close(reference(points, table, (resolution,)), expected)


@pytest.mark.parametrize("resolution", [3, 40])  # dense, hashed
def test_gradients_are_the_derivatives(resolution):
    points, table = made(6, 1, 64, 2, torch.float64)
    inputs = (points.requires_grad_(), table.requires_grad_())
    assert torch.autograd.gradcheck(lambda p, t: hashgrid(p, t, (resolution,)), inputs)
    assert torch.autograd.gradgradcheck(lambda p, t: hashgrid(p, t, (resolution,)), inputs)


@numba_only
@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("num_points", [0, 1, 20000])
def test_backend_agrees_with_the_reference(width, num_points):
    points, table = made(num_points, 5, 2**12, width)
    points = points * 1.2 - 0.1  # some are outside, and clamped
    resolutions = growing_resolutions(5, 8, 300)
    results = []
    for function in (hashgrid, reference):
        inputs = [x.clone().requires_grad_() for x in (points, table)]
        out = function(*inputs, resolutions)
        out.backward(torch.cos(7 * out.detach()))
        results.append((out.detach(), inputs[0].grad, inputs[1].grad))
    for ours, theirs in zip(*results, strict=True):
        largest = max(1.0, theirs.abs().max().item() if len(theirs) else 1.0)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * largest)


@numba_only
def test_backend_is_deterministic_and_takes_views():
    points, table = made(30000, 8, 2**10, 2)
    resolutions = growing_resolutions(8, 8, 200)
    wide = torch.cat([points, points], dim=1)[:, 1:4].roll(1, 1)  # not contiguous
    grads = []
    for p in (points, wide, points):
        p, t = p.detach().requires_grad_(), table.clone().requires_grad_()
        hashgrid(p, t, resolutions).square().sum().backward()
        grads.append((p.grad, t.grad))
    assert torch.equal(grads[0][0], grads[2][0]) and torch.equal(grads[0][1], grads[2][1])
    assert grads[1][1].shape == table.shape


@numba_only
def test_blocks_and_threads_do_not_matter(monkeypatch):
    from threestudio_like.ops.backends.numba import hashgrid as backend

    points, table = made(5000, 3, 2**10, 2)
    results = []
    for block in (backend.BLOCK, 700):  # tasks that outnumber the threads
        monkeypatch.setattr(backend, "BLOCK", block)
        p, t = points.clone().requires_grad_(), table.clone().requires_grad_()
        out = hashgrid(p, t, (4, 20, 60))
        out.square().sum().backward()
        results.append((out.detach(), p.grad, t.grad))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@numba_only
def test_backend_differentiates_twice():
    points, table = made(100, 3, 2**8, 2)
    grads = []
    for function in (hashgrid, reference):
        p, t = points.clone().requires_grad_(), table.clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(p, t, (4, 9, 20)).sin().sum(), p, create_graph=True)
        (slope.norm(dim=-1) - 1).square().sum().backward()  # eikonal
        grads.append((p.grad, t.grad))
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-3)


@numba_only
def test_a_nan_is_not_hidden():
    points, table = made(3, 2, 2**8, 2)
    points[1, 2] = math.nan
    for function in (hashgrid, reference):
        out = function(points, table, (4, 30))
        assert out[1].isnan().all() and not out[[0, 2]].isnan().any()
