"""Occupancy grids against rays walked one step at a time, and against closed forms."""

import math

import pytest
import torch

from threestudio_like.ops.march import intersect_box
from threestudio_like.ops.occupancy import (
    cells_of,
    cells_to_refresh,
    march_occupied,
    occupied_cells,
    random_points,
    refreshed,
)

pytestmark = pytest.mark.usefixtures("either")


def rays_at(count, seed=0):
    """Rays from around towards the box [-0.7, 0.7]^3; some miss it, and the first starts inside."""
    generator = torch.Generator().manual_seed(seed)
    origins = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1) * 2
    origins[0] = 0.1
    aim = torch.randn(count, 3, generator=generator) * 0.5
    directions = torch.nn.functional.normalize(aim - origins, dim=-1)
    near, far, hit = intersect_box(origins, directions, 0.7)
    assert 0.5 < hit.double().mean() < 1
    return origins, directions, near, far


def test_marching_against_rays_walked_by_hand():
    generator = torch.Generator().manual_seed(0)
    rays = rays_at(40)
    occupied = torch.rand(6, 6, 6, generator=generator) < 0.4
    phase = torch.rand(40, generator=generator)
    step, expected = 0.093, []
    for n in range(40):
        origin, direction, near, far = (part[n].double() for part in rays)
        number = 0
        while near + (number - phase[n]) * step < far and far > near:
            start = max(near, near + (number - phase[n]) * step)
            end = min(far, near + (number + 1 - phase[n]) * step)
            point = origin + (start + end) / 2 * direction
            x, y, z = (min(max(math.floor((p + 0.7) / 1.4 * 6), 0), 5) for p in point.tolist())
            if occupied[z, y, x]:
                expected.append((n, start.item(), end.item()))
            number += 1
    found = march_occupied(*rays, occupied, 0.7, step, phase)
    ray, start, end = (torch.tensor(column) for column in zip(*expected, strict=True))
    assert len(ray) > 100 and torch.equal(found.ray, ray)
    torch.testing.assert_close(found.start, start, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.end, end, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_full_grid_covers_each_ray_without_gaps_and_an_empty_one_not_at_all(dtype):
    rays = [part.to(dtype) for part in rays_at(200)]
    phase = torch.rand(200, dtype=dtype)
    full = torch.ones(4, 4, 4, dtype=torch.bool)
    found = march_occupied(*rays, full, 0.7, 0.05, phase)
    covered = torch.zeros(200, dtype=dtype).index_add(0, found.ray, found.length)
    torch.testing.assert_close(covered, rays[3] - rays[2], atol=1e-5, rtol=0)
    assert found.length.min() > 0 and found.length.max() < 0.05 + 1e-6
    same = found.ray[1:] == found.ray[:-1]
    torch.testing.assert_close(found.start[1:][same], found.end[:-1][same], atol=1e-6, rtol=0)
    assert (found.ray.diff() >= 0).all() and found.start.dtype == dtype
    nothing = march_occupied(*rays, ~full, 0.7, 0.05, phase)
    assert nothing.ray.shape == nothing.start.shape == nothing.end.shape == (0,)
    none = [part[:0] for part in (*rays, phase)]
    assert march_occupied(*none[:4], full, 0.7, 0.05, none[4]).ray.shape == (0,)


def test_cells_and_their_points():
    cells = torch.arange(5**3)
    points = random_points(cells, 0.3, 5, torch.Generator().manual_seed(0))
    x, y, z = cells_of(points, 0.3, 5).unbind(-1)
    assert torch.equal(x + 5 * (y + 5 * z), cells)
    shares = (points + 0.3) / 0.12 % 1
    assert shares.min() < 0.05 and shares.max() > 0.95
    outside = torch.tensor([[-9.0, 0.0, 9.0]])
    assert cells_of(outside, 0.3, 5).tolist() == [[0, 2, 4]]


def test_opacities_decay_and_rise():
    opacity = torch.zeros(2, 2, 2)
    opacity[0, 1, 0] = 1.0  # cell 2
    after = refreshed(opacity, torch.tensor([2, 7]), torch.tensor([0.2, 0.3]), 0.95)
    expected = torch.zeros(8)
    expected[2], expected[7] = 0.95, 0.3
    torch.testing.assert_close(after.reshape(-1), expected)
    for _ in range(60):
        after = refreshed(after, torch.tensor([2]), torch.tensor([0.2]), 0.95)
    assert after[0, 1, 0].item() == pytest.approx(0.2) and after[1, 1, 1].item() == pytest.approx(0.3)


def test_the_threshold_is_half_the_mean_where_that_is_lower():
    opacity = torch.tensor([0.0, 0.0009, 0.0012, 0.0059]).repeat(2).reshape(2, 2, 2)  # the mean is 0.002
    assert occupied_cells(opacity, 0.01).reshape(-1).tolist() == [False, False, True, True] * 2
    assert occupied_cells(opacity, 0.0005).reshape(-1).tolist() == [False, True, True, True] * 2
    assert occupied_cells(torch.full((3, 3, 3), 1e-3), 0.01).all()
    assert occupied_cells(torch.zeros(3, 3, 3), 0.01).all()


def test_half_of_what_is_refreshed_is_occupied():
    occupied = torch.zeros(16, 16, 16, dtype=torch.bool)
    occupied[3, 4] = True
    cells = cells_to_refresh(occupied, 100, torch.Generator().manual_seed(0))
    assert len(cells) == len(cells.unique()) and 100 < len(cells) <= 116
    assert occupied.reshape(-1)[cells].sum() == 16  # all of the few
    occupied[:] = True
    cells = cells_to_refresh(occupied, 100, torch.Generator().manual_seed(0))
    assert 180 < len(cells) <= 200
