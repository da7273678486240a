"""The field of Gaussians against closed forms and a plain double loop; distances between points."""

import math

import pytest
import torch

from threestudio_like.ops.cloud import ball_spacing, field, spacing
from threestudio_like.ops.splat import rotation_matrices
from threestudio_like.records import Ellipsoids

ROUND = torch.tensor([[1.0, 0.0, 0.0, 0.0]])


def cloud(count, seed=0):
    torch.manual_seed(seed)
    opacities = torch.rand(count)
    return Ellipsoids(
        torch.rand(count, 3), 0.02 + 0.1 * torch.rand(count, 3), torch.randn(count, 4), opacities
    )


def test_at_its_mean_a_gaussian_is_its_opacity():
    ball = Ellipsoids(torch.tensor([[0.1, 0.2, 0.3]]), torch.full((1, 3), 0.05), ROUND, torch.tensor([0.7]))
    away = torch.tensor([0.0, 1.0, 2.0, 3.2, 3.3])  # deviations; sqrt(2 ln(255 x .7)) = 3.22
    points = ball.means + 0.05 * away[:, None] * torch.tensor([0.0, 0.6, 0.8])
    density, sums = field(points, ball, torch.tensor([[2.0, -1.0]]))
    expected = 0.7 * torch.exp(-0.5 * away.square()) * torch.tensor([1.0, 1, 1, 1, 0])
    torch.testing.assert_close(density, expected)
    torch.testing.assert_close(sums, density[:, None] * torch.tensor([2.0, -1.0]))


def test_all_points_with_all_gaussians():
    gaussians, values = cloud(300), torch.rand(300, 2)
    points = torch.rand(3000, 3) * 1.4 - 0.2  # more than a leaf's
    axes = rotation_matrices(gaussians.quaternions) * gaussians.scales[:, None]
    precision = torch.linalg.inv(axes @ axes.mT)
    away = points[:, None] - gaussians.means
    each = gaussians.opacities * torch.exp(-0.5 * torch.einsum("pni,nij,pnj->pn", away, precision, away))
    each = torch.where(each >= 1 / 255, each, 0.0)
    density, sums = field(points, gaussians, values)
    assert density.eq(0).any() and density.gt(1).any()
    torch.testing.assert_close(density, each.sum(1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(sums, each @ values, atol=1e-5, rtol=1e-4)


def test_nothing_at_no_point():
    density, sums = field(torch.zeros(0, 3), cloud(3), torch.zeros(3, 1))
    assert density.shape == (0,) and sums.shape == (0, 1)
    density, _ = field(torch.rand(5, 3), Ellipsoids(*(part[:0] for part in cloud(3))), torch.zeros(0, 1))
    assert density.eq(0).all()


def test_spacing_of_a_square():
    """From a corner: two sides, one diagonal."""
    square = torch.tensor([[0.0, 0, 0], [0.0, 1, 0], [1.0, 0, 0], [1.0, 1, 0]])
    torch.testing.assert_close(spacing(square), torch.full((4,), math.sqrt((1 + 1 + 2) / 3)))
    torch.testing.assert_close(spacing(square[:2]), torch.ones(2))
    with pytest.raises(ValueError, match="no neighbours"):
        spacing(square[:1])


def test_spacing_of_many_is_that_of_all_with_all():
    torch.manual_seed(1)
    points = torch.cat([torch.rand(1500, 3), 0.05 * torch.rand(700, 3), torch.tensor([[5.0, 5.0, 5.0]])])
    nearest = torch.cdist(points.double(), points.double()).topk(4, largest=False).values[:, 1:]
    torch.testing.assert_close(spacing(points), nearest.square().mean(-1).sqrt().float())


def test_spacing_in_a_ball():
    torch.manual_seed(0)
    points = (
        torch.nn.functional.normalize(torch.randn(4000, 3), dim=-1) * 0.7 * torch.rand(4000, 1) ** (1 / 3)
    )
    inner = points.norm(dim=-1) < 0.6
    measured = spacing(points)[inner].square().mean().sqrt().item()
    assert measured == pytest.approx(ball_spacing(4000, 0.7), rel=0.03)
