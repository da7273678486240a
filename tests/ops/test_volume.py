"""Volume rendering against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from threestudio_like.ops.volume import (
    composite,
    neus_alpha,
    packed_sum,
    packed_weights_from_alpha,
    packed_weights_from_density,
    weights_from_alpha,
    weights_from_density,
)

DOUBLE = torch.float64


def test_weights_from_alpha_by_hand():
    weights = weights_from_alpha(torch.tensor([[0.5, 0.5, 1.0, 0.7], [0.0, 0.25, 0.0, 1.0]]))
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.25, 0.25, 0.0], [0.0, 0.25, 0.0, 0.75]]))


def test_opaque_samples_have_the_gradient_of_the_formula():
    """Where alpha is 1 the derivative is still that of the polynomial in the other factors."""
    alpha = torch.tensor([[0.3, 1.0, 0.6, 1.0, 0.2]], dtype=torch.float64, requires_grad=True)
    values = torch.tensor([2.0, -1.0, 3.0, 0.5, 4.0], dtype=torch.float64)
    (weights_from_alpha(alpha)[0] * values).sum().backward()
    step = 1e-6
    for i in range(5):
        ends = []
        for sign in (1, -1):
            moved = alpha.detach().clone()
            moved[0, i] += sign * step
            through = torch.cat([torch.ones(1, dtype=torch.float64), (1 - moved[0]).cumprod(0)[:-1]])
            ends.append((moved[0] * through * values).sum())
        assert abs(alpha.grad[0, i] - (ends[0] - ends[1]) / (2 * step)) < 1e-6


def test_many_opaque_samples_keep_gradients_finite():
    alpha = torch.ones(2, 50, requires_grad=True)
    weights_from_alpha(alpha).sum().backward()
    assert alpha.grad.isfinite().all()


def test_weights_from_density_sum_to_the_absorbed():
    density = torch.rand(6, 20, dtype=torch.float64) * torch.logspace(-4, 4, 6, dtype=torch.float64)[:, None]
    delta = torch.rand(6, 20, dtype=torch.float64)
    weights = weights_from_density(density, delta)
    torch.testing.assert_close(weights.sum(-1), 1 - torch.exp(-(density * delta).sum(-1)))
    torch.testing.assert_close(
        weights, weights_from_alpha(1 - torch.exp(-density * delta)), atol=1e-8, rtol=0
    )


def test_thin_density_is_not_rounded_away():
    weights = weights_from_density(torch.full((1, 4), 1e-9), torch.ones(1, 4))
    torch.testing.assert_close(weights, torch.full((1, 4), 1e-9))


@pytest.mark.parametrize("cosine", [-1.0, -0.5])
@pytest.mark.parametrize(("inv_std", "spread"), [(20.0, 0.09069), (64.0, 0.02834), (200.0, 0.00907)])
def test_neus_of_a_plane(inv_std, spread, cosine):
    """The weights are a logistic density around the zero, of deviation pi / (sqrt(3) s |cos|)."""
    surface, reach = 3.0, -10 / (inv_std * cosine)
    edges = torch.linspace(surface - reach, surface + reach, 81, dtype=torch.float64)
    middles, delta = (edges[1:] + edges[:-1])[None] / 2, edges.diff()[None]
    sdf = (surface - middles) * -cosine
    alpha = neus_alpha(sdf, torch.full_like(sdf, cosine), delta, torch.tensor(inv_std, dtype=torch.float64))
    weights = weights_from_alpha(alpha)
    mean = composite(weights, middles[..., None]).item()
    deviation = composite(weights, (middles[..., None] - mean) ** 2).sqrt().item()
    assert weights.sum().item() == pytest.approx(1.0, abs=1e-4)
    # eps lets each interval take 1e-5, also far from the surface: few intervals, within ten deviations
    assert mean == pytest.approx(surface, abs=0.02 * spread / abs(cosine))
    assert math.pi / (math.sqrt(3) * inv_std) == pytest.approx(spread, abs=1e-5)
    assert deviation == pytest.approx(spread / abs(cosine), rel=0.01)


def test_neus_sums_to_the_share_of_phi_passed():
    edges = torch.linspace(0, 1, 65, dtype=torch.float64)
    middles, delta = (edges[1:] + edges[:-1])[None] / 2, edges.diff()[None]
    inv_std = torch.tensor(5.0, dtype=torch.float64)
    alpha = neus_alpha(0.6 - middles, -torch.ones_like(middles), delta, inv_std)
    passed = torch.sigmoid(inv_std * (0.6 - edges[[0, -1]]))
    assert weights_from_alpha(alpha).sum().item() == pytest.approx(
        1 - (passed[1] / passed[0]).item(), abs=2e-3
    )


def test_neus_gradients():
    sdf = torch.linspace(-0.2, 0.3, 7, dtype=torch.float64, requires_grad=True)
    cosine = torch.linspace(-1, -0.1, 7, dtype=torch.float64, requires_grad=True)
    inv_std = torch.tensor(12.0, dtype=torch.float64, requires_grad=True)
    delta = torch.full((7,), 0.05, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda f, c, s: neus_alpha(f, c, delta, s), (sdf, cosine, inv_std))


def test_neus_deep_inside_is_opaque():
    far = torch.tensor([-100.0, 100.0])
    alpha = neus_alpha(far, -torch.ones(2), torch.full((2,), 0.1), torch.tensor(100.0))
    torch.testing.assert_close(alpha, torch.tensor([1.0, 1e-5]), atol=1e-6, rtol=0)


def test_composite():
    weights, values = torch.rand(3, 5), torch.rand(3, 5, 2)
    torch.testing.assert_close(composite(weights, values), (weights[..., None] * values).sum(1))


def packed_samples(dtype=DOUBLE):
    """Rays with 3, 0, 1, 5, 0 and 2 samples: opacities, densities, lengths, values; which ray each is on."""
    generator = torch.Generator().manual_seed(0)
    ray = torch.repeat_interleave(torch.arange(6), torch.tensor([3, 0, 1, 5, 0, 2]))
    alpha, density, delta = torch.rand(3, len(ray), generator=generator, dtype=dtype)
    values = torch.randn(len(ray), 2, generator=generator, dtype=dtype)
    return alpha, 5 * density, delta, values, ray


def test_packed_rays_are_composited_as_each_ray_alone():
    alpha, density, delta, values, ray = packed_samples()
    by_alpha = packed_weights_from_alpha(alpha, ray, 6)
    by_density = packed_weights_from_density(density, delta, ray, 6)
    sums = packed_sum(by_alpha, values, ray, 6)
    for n in range(6):
        own = ray == n
        torch.testing.assert_close(by_alpha[own], weights_from_alpha(alpha[own][None])[0])
        torch.testing.assert_close(
            by_density[own], weights_from_density(density[own][None], delta[own][None])[0]
        )
        torch.testing.assert_close(sums[n], composite(by_alpha[own][None], values[own][None])[0])
    absorbed = 1 - torch.exp(-torch.zeros(6, dtype=DOUBLE).index_add(0, ray, density * delta))
    torch.testing.assert_close(packed_sum(by_density, torch.ones_like(values), ray, 6)[:, 0], absorbed)


def test_no_samples_at_all():
    nothing, ray = torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    assert packed_weights_from_alpha(nothing, ray, 3).shape == (0,)
    assert packed_weights_from_density(nothing, nothing, ray, 3).shape == (0,)
    assert torch.equal(packed_sum(nothing, torch.zeros(0, 4), ray, 3), torch.zeros(3, 4))
    assert weights_from_density(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0, 4)


def test_gradients_pass_gradcheck():
    alpha, density, delta, values, ray = (
        v.requires_grad_() if v.is_floating_point() else v for v in packed_samples()
    )
    check = torch.autograd.gradcheck
    assert check(lambda a: packed_weights_from_alpha(a, ray, 6), alpha)
    assert check(lambda s, d: packed_weights_from_density(s, d, ray, 6), (density, delta))
    assert check(lambda w, v: packed_sum(w, v, ray, 6), (alpha, values))
    rows = [v[:10].detach().reshape(2, 5).requires_grad_() for v in (alpha, density, delta)]
    assert check(weights_from_alpha, rows[0])
    assert check(weights_from_density, (rows[1], rows[2]))
    assert check(composite, (rows[0], values[:10].detach().reshape(2, 5, 2).requires_grad_()))
