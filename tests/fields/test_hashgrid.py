"""The encoding that owns a hash table."""

from __future__ import annotations

import pytest
import torch

from threestudio_like.fields.hashgrid import HashGrid


def made(**changes) -> HashGrid:
    values = {"num_levels": 4, "features_per_level": 2, "log2_table": 10, "base_resolution": 4}
    return HashGrid(**{**values, "finest_resolution": 32, **changes})


def test_size_and_first_values():
    grid = made()
    assert grid.resolutions == (4, 8, 16, 32) and grid.num_outputs == 8
    assert grid(torch.rand(7, 3)).shape == (7, 8)
    assert 0.9e-4 < grid.table.abs().max() <= 1e-4 and grid.table.mean().abs() < 1e-5


def test_learns_a_function_of_the_point():
    torch.manual_seed(0)
    grid, head = made(), torch.nn.Linear(8, 1)
    optimiser = torch.optim.Adam([*grid.parameters(), *head.parameters()], lr=1e-2)
    losses = []
    for _ in range(200):
        points = torch.rand(1024, 3)
        target = torch.sin(5 * points).prod(-1, keepdim=True)
        loss = (head(grid(points)) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.02 * sum(losses[:10])


@pytest.mark.parametrize("changes", [{"num_levels": 0}, {"finest_resolution": 3}])
def test_levels_that_do_not_grow_are_an_error(changes):
    with pytest.raises(ValueError, match="levels from resolution"):
        made(**changes)
