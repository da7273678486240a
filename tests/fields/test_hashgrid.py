"""The encoding that owns a hash table."""

from __future__ import annotations

import pytest
import torch
from grids import small_hashgrid

from threestudio_like.fields.hashgrid import HashGrid
from threestudio_like.schedule.anneal import milestones


def made(**changes) -> HashGrid:
    return small_hashgrid(**{"finest_resolution": 32, **changes})


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


def test_levels_open_by_the_step_and_closed_ones_say_and_learn_nothing():
    grid = made(opened=milestones(value=2, then=[[10, 3], [20, 9]]))
    every = made()
    every.load_state_dict({"table": grid.table.detach()})
    points = torch.rand(7, 3)
    for step, levels in ((0, 2), (9, 2), (10, 3), (20, 4)):
        grid.at(step)
        features, whole = grid(points), every(points)
        assert torch.equal(features[:, : 2 * levels], whole[:, : 2 * levels])
        assert not features[:, 2 * levels :].any()
        (grads,) = torch.autograd.grad(features.sum(), grid.table)
        assert grads[:levels].flatten(1).any(dim=1).all() and not grads[levels:].any()


def test_what_was_open_is_saved():
    grid, other = (made(opened=milestones(value=2, then=[[10, 3]])) for _ in range(2))
    grid.at(10)
    other.load_state_dict(grid.state_dict())
    points = torch.rand(7, 3)
    assert torch.equal(other(points), grid(points)) and other(points)[:, 4:6].any()
    assert "levels" not in made().state_dict()


def test_no_level_is_an_error():
    with pytest.raises(ValueError, match="opened: at least 1 level counts, not 0"):
        made(opened=milestones(value=0, then=[]))


@pytest.mark.parametrize("changes", [{"num_levels": 0}, {"finest_resolution": 3}])
def test_levels_that_do_not_grow_are_an_error(changes):
    with pytest.raises(ValueError, match="levels from resolution"):
        made(**changes)
