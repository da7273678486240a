"""Marching through an occupancy grid by Triton: the same intervals as the reference's, in the same order."""

import pytest
import torch

from threestudio_like.ops import march, occupancy


def case(resolution, step):
    """Rays from around and from within, some beside the box or along an axis; a few balls are occupied."""
    generator = torch.Generator().manual_seed(resolution)
    directions = torch.nn.functional.normalize(torch.randn(2, 12, 3, generator=generator), dim=-1)
    origins = 2 * directions[0]
    origins[:3] *= 0.2
    directions = torch.nn.functional.normalize(0.6 * directions[1] - origins, dim=-1)
    directions[:6] = torch.eye(3).repeat(2, 1)
    near, far, hit = march.intersect_box(origins, directions, 0.8)
    assert 0 < hit.sum() < 12
    cells = torch.cartesian_prod(*[torch.arange(resolution)] * 3).float()
    balls = resolution * torch.rand(5, 3, generator=generator)
    grid = (torch.cdist(cells, balls) < 0.2 * resolution).any(1).view(*[resolution] * 3)
    return origins, directions, near, far, grid, 0.8, step, torch.rand(12, generator=generator)


@pytest.mark.parametrize(("resolution", "step"), [(16, 0.011), (5, 0.3)])
def test_intervals_are_the_reference_s(agrees, resolution, step):
    agrees(occupancy.march_occupied, *case(resolution, step), tolerance=0)


def test_nothing_occupied_keeps_nothing(agrees):
    *rays, grid, radius, step, phase = case(5, 0.3)
    agrees(occupancy.march_occupied, *rays, torch.zeros_like(grid), radius, step, phase)


def test_the_last_interval_is_met_however_many_there_are(agrees):
    """Up to two more than are looked up at a time; the last one is cut."""
    origins = torch.zeros(6, 3)
    directions = torch.tensor([[1.0, 0.0, 0.0]]).expand(6, 3)
    far = 0.01 * torch.tensor([63.5, 64.0, 64.5, 65.5, 66.5, 0.0])
    grid = torch.ones(2, 2, 2, dtype=torch.bool)
    agrees(occupancy.march_occupied, origins, directions, 0 * far, far, grid, 0.8, 0.01, 0 * far, tolerance=0)
