"""Score matching on Gaussian data, whose objectives have closed forms, and as identities for any field."""

import math

import pytest
import torch
from torch import nn

from threestudio_like.losses.score import denoising, dot, exact, sliced
from threestudio_like.schedule.oracle import gaussian_score
from threestudio_like.schedule.ve import geometric

LADDER = geometric(10, 1.0, 0.01)
DIMENSIONS = 3


@pytest.fixture
def field():
    """A smooth random vector field on R^3."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(DIMENSIONS, 16), nn.Tanh(), nn.Linear(16, DIMENSIONS)).double()


def points(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, DIMENSIONS, dtype=torch.float64, generator=generator)


def jacobians(field, x):
    return torch.stack([torch.autograd.functional.jacobian(field, row) for row in x])


def test_exact_is_trace_and_half_the_square(field):
    x = points(5)
    trace = jacobians(field, x).diagonal(dim1=1, dim2=2).sum(-1)
    torch.testing.assert_close(exact(field, x), trace + field(x).square().sum(-1) / 2)


def test_integration_by_parts(field):
    """E[s . grad log p] = -E[tr ds/dx] for x ~ N(0, 1), by quadrature: the heart of score matching."""
    nodes = torch.linspace(-7, 7, 57, dtype=torch.float64)
    x = torch.cartesian_prod(nodes, nodes, nodes)
    density = torch.exp(-x.square().sum(-1) / 2) / (2 * math.pi) ** 1.5 * (nodes[1] - nodes[0]) ** 3
    with torch.no_grad():
        left = (density * dot(field(x), -x)).sum()
        hidden = torch.tanh(field[0](x))
        trace = torch.einsum("nh,ih,hi->n", 1 - hidden**2, field[2].weight, field[0].weight)
    torch.testing.assert_close(left, -(density * trace).sum(), rtol=1e-6, atol=1e-8)


def test_with_noise_the_score_of_the_kernel_may_stand_for_the_score_of_the_density():
    """Vincent's: E |s - grad log q(y)|^2 / 2 and E |s - grad log q(y | x)|^2 / 2 differ alike for all s.

    Data are three points, so q is a Parzen estimate; both expectations are integrals on a line.
    """
    data, weights = torch.tensor([-1.0, 0.3, 2.0]).double(), torch.tensor([0.5, 0.2, 0.3]).double()
    sigma, y = 0.4, torch.linspace(-6, 7, 4001, dtype=torch.float64)
    kernel = torch.exp(-0.5 * ((y[:, None] - data) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    joint = kernel * weights  # p(x) q(y | x)
    density = joint.sum(-1)
    toward = (data - y[:, None]) / sigma**2
    score = (joint * toward).sum(-1) / density

    def gap(s):
        explicit = torch.trapezoid(density * (s - score).square(), y) / 2
        by_noise = torch.trapezoid((joint * (s[:, None] - toward).square()).sum(-1), y) / 2
        return explicit, explicit - by_noise

    (none, constant), (some, same), (perfect, also) = gap(0 * y), gap(torch.sin(3 * y) - y), gap(score)
    assert perfect == 0 and min(none, some) > 0.1
    torch.testing.assert_close(torch.stack([same, also]), constant.expand(2), rtol=1e-9, atol=0)


@pytest.mark.parametrize("variance_reduced", [True, False])
def test_sliced_along_the_axes_is_exact(field, variance_reduced):
    """v = sqrt(D) e_i for each axis in turn has E[v v^T] = 1 with no variance left to average away."""
    x = points(6)
    axes = math.sqrt(DIMENSIONS) * torch.eye(DIMENSIONS, dtype=torch.float64)
    each = [sliced(field, x, v.expand_as(x), variance_reduced=variance_reduced) for v in axes]
    torch.testing.assert_close(torch.stack(each).mean(0), exact(field, x))


def test_hutchinson(field):
    """Random signs estimate the trace without bias; all eight of them together exactly."""
    x = points(4)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * DIMENSIONS)
    each = [sliced(field, x, v.expand_as(x), variance_reduced=True) for v in signs]
    torch.testing.assert_close(torch.stack(each).mean(0), exact(field, x))


@pytest.mark.parametrize(
    ("std", "denoised", "sliced_floor"),
    [(0.1, 0.2500, -0.2500), (0.25, 0.3379, -0.1621), (0.5, 0.4007, -0.0993)],
)
def test_floors_of_gaussian_data(std, denoised, sliced_floor):
    """With the true score the sigma^2-weighted losses are known; averaged over NCSN's ladder, per dimension.

    A quadratic's mean over a Gaussian is exact with the nodes +-1 for each normal number.
    """
    ends = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    data, z, v = (grid.reshape(-1, 1) for grid in torch.meshgrid(ends, ends, ends, indexing="ij"))
    x = std * data
    levels, both = LADDER.double(), []
    for sigma in levels:
        deviation = sigma.expand(len(x))

        def score(y, sigma=sigma):
            return gaussian_score(y, sigma, torch.zeros(()), std)

        noisy = x + sigma * z
        losses = denoising(score, x, z, deviation), sliced(score, noisy, v, variance_reduced=True)
        both.append([(sigma**2 * loss).mean().item() for loss in losses])
    means = torch.tensor(both).mean(0).tolist()
    assert means == pytest.approx([denoised, sliced_floor], abs=1e-4)


def test_denoising_and_sliced_differ_by_half_a_dimension(field):
    """For any field: sigma^2 (DSM - SSM) = D / 2 on average over the noise (Vincent 2011)."""
    sigma, count = 0.5, 200_000
    generator = torch.Generator().manual_seed(3)
    x, z, v = (torch.randn(count, DIMENSIONS, dtype=torch.float64, generator=generator) for _ in range(3))
    deviation = torch.full((count,), sigma, dtype=torch.float64)
    gap = denoising(field, x, z, deviation) - sliced(field, x + sigma * z, v, variance_reduced=True)
    error = 3 * sigma**2 * gap.std().item() / math.sqrt(count)
    assert error < 0.05
    assert sigma**2 * gap.mean().item() == pytest.approx(DIMENSIONS / 2, abs=error)


def test_gradients_reach_the_network(field):
    x = points(3)
    for loss in (exact(field, x), sliced(field, x, torch.ones_like(x), variance_reduced=False)):
        field.zero_grad()
        loss.sum().backward()
        assert field[0].weight.grad.abs().sum() > 0
