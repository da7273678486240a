"""The distance of Gaussians in closed form, and what the encoder sees."""

import pytest
import torch

from threestudio_like.metrics.frechet import edges96, frechet, square_root


def exactly(mean: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Points whose mean and covariance are these, exactly."""
    torch.manual_seed(0)
    raw = torch.randn(50, len(mean), dtype=torch.float64)
    raw = raw - raw.mean(0)
    white = raw @ torch.linalg.inv(square_root(torch.cov(raw.T)))
    return white @ square_root(matrix) + mean


def test_of_gaussians_whose_axes_agree():
    """Then it is |m - m'|^2 + sum (s - s')^2."""
    zero, moved = torch.zeros(3, dtype=torch.float64), torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64)
    one = exactly(zero, torch.diag(torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)))
    other = exactly(moved, torch.diag(torch.tensor([4.0, 4.0, 0.25], dtype=torch.float64)))
    assert frechet(one, other).item() == pytest.approx(5 + 1 + 0 + 6.25)
    assert frechet(other, one).item() == pytest.approx(12.25)
    assert frechet(one, one).item() == pytest.approx(0, abs=1e-9)


def test_of_gaussians_that_are_turned():
    """Against the general formula, by the eigenvalues of the product, which is not symmetric."""
    torch.manual_seed(1)
    one, other = (m @ m.T + torch.eye(4) for m in torch.randn(2, 4, 4, dtype=torch.float64))
    zero = torch.zeros(4, dtype=torch.float64)
    cross = torch.linalg.eigvals(one @ other).real.sqrt().sum()
    expected = one.trace() + other.trace() - 2 * cross
    assert frechet(exactly(zero, one), exactly(zero, other)).item() == pytest.approx(expected.item())


def test_more_dimensions_than_points():
    assert frechet(torch.randn(5, 96), torch.randn(7, 96)).isfinite()
    with pytest.raises(ValueError, match="two pictures at least"):
        frechet(torch.randn(1, 96), torch.randn(7, 96))


def test_encoder_sees_colours_places_and_edges():
    grey = torch.full((1, 32, 32, 4), 0.5)
    assert edges96(grey).shape == (1, 96)
    torch.testing.assert_close(edges96(grey)[0], torch.cat([torch.full((64,), 0.5), torch.zeros(32)]))
    striped = grey.clone()
    striped[:, ::2] = 0.0
    striped[:, 1::2] = 1.0  # the same colours on average, edges everywhere that vanish at the second scale
    found = edges96(striped)[0]
    torch.testing.assert_close(found[:64], torch.full((64,), 0.5))
    torch.testing.assert_close(found[64:80], torch.ones(16))
    torch.testing.assert_close(found[80:], torch.zeros(16))


def test_noise_is_further_than_another_half():
    torch.manual_seed(0)
    base = torch.rand(80, 4, 4, 4).repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)
    one, other = base[:40], base[40:]
    noisy = (other + 0.5 * torch.randn_like(other)).clamp(0, 1)
    floor, far = frechet(edges96(one), edges96(other)), frechet(edges96(one), edges96(noisy))
    assert far > 1.5 * floor
