"""Surface regularisers against closed forms."""

import math

import pytest
import torch

from threestudio_like.losses import shape
from threestudio_like.records import Samples


def met(gradients, directions, weights, rays):
    count = len(gradients)
    return Samples(
        sdf=torch.zeros(count),
        weights=torch.tensor(weights),
        distances=torch.ones(count),
        gradients=torch.tensor(gradients),
        directions=torch.tensor(directions),
        rays=torch.tensor(rays),
        points=torch.zeros(count, 3),
    )


def test_eikonal():
    samples = met([[3.0, 0, 0], [0, 1.0, 0]], [[1.0, 0, 0]] * 2, [0.5, 0.5], [0, 1])
    assert shape.eikonal(samples).item() == pytest.approx((2**2 + 0) / 2)


def test_orientation_counts_what_faces_away_for_each_ray():
    gradients = [[2.0, 0, 0], [-1.0, 0, 0], [0.6, 0.8, 0]]
    samples = met(gradients, [[1.0, 0, 0]] * 3, [0.5, 0.9, 0.25], [4, 4, 7])
    assert shape.orientation(samples).item() == pytest.approx((0.5 * 1 + 0 + 0.25 * 0.36) / 2)


def test_nothing_met_is_no_loss():
    empty = Samples(
        *[torch.zeros(0)] * 3, *[torch.zeros(0, 3)] * 2, torch.zeros(0, dtype=torch.long), torch.zeros(0, 3)
    )
    assert shape.eikonal(empty).item() == 0
    assert shape.orientation(empty).item() == 0


def test_solid_smoothness_is_the_mean_difference_of_normals():
    up, left = torch.tensor([[0.0, 0, 1], [0, 0, 1]]), torch.tensor([[0.0, 0, 1], [1, 0, 0]])
    assert shape.solid_smoothness(up, left).item() == pytest.approx(2 / 6)
    assert shape.solid_smoothness(up[:0], up[:0]).item() == 0


def test_entropy_of_a_half_is_log_two():
    assert shape.opacity_entropy(torch.full((1, 2, 2, 1), 0.5)).item() == pytest.approx(math.log(2))
    sure = shape.opacity_entropy(torch.tensor([0.0, 1.0]).view(1, 1, 2, 1)).item()
    assert sure == pytest.approx(-(0.001 * math.log(0.001) + 0.999 * math.log(0.999)), rel=1e-3)


def test_emptiness_prefers_one_surface_to_a_fog_of_the_same_opacity():
    wall, fog = torch.tensor([0.9, 0.0, 0.0]), torch.full((3,), 0.3)
    assert shape.emptiness(wall, 2).item() == pytest.approx(math.log(10) / 2)
    assert shape.emptiness(fog, 2).item() == pytest.approx(3 * math.log(4) / 2)


def test_sparsity():
    assert shape.sparsity(torch.zeros(1, 2, 2, 1)).item() == pytest.approx(0.1)
    assert shape.sparsity(torch.ones(1, 2, 2, 1)).item() == pytest.approx(math.sqrt(1.01))


def test_normal_smoothness_ignores_the_silhouette():
    normal = torch.zeros(1, 4, 4, 3)
    normal[:, :, 2:, 0] = 1
    assert shape.normal_smoothness(normal).item() == 0
    normal[:, :, 3] = torch.tensor([0.0, 1.0, 0.0])
    # one of three column steps differs, by sqrt(2) / 2 spread over three channels
    assert shape.normal_smoothness(normal).item() == pytest.approx(2 / 4 / 3 / 3)
