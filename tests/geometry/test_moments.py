"""What an optimiser knows of a parameter goes to the one that takes its place."""

import torch
from torch import nn

from threestudio_like.geometry.moments import exchange


def test_the_new_parameter_is_in_the_same_group_with_moments_of_its_own_shape():
    old, other = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(1))
    optimizer = torch.optim.Adam([{"params": [old, other], "lr": 0.1}])
    (old.square().sum() + other.sum()).backward()
    optimizer.step()
    before = dict(optimizer.state[old])
    new = nn.Parameter(torch.zeros(5, 2))
    exchange(optimizer, old, new, lambda moment: moment[[0, 1, 2, 0, 1]])
    assert optimizer.param_groups[0]["params"] == [new, other] and old not in optimizer.state
    assert torch.equal(optimizer.state[new]["exp_avg"], before["exp_avg"][[0, 1, 2, 0, 1]])
    assert optimizer.state[new]["step"] == before["step"] == 1
    new.sum().backward()
    optimizer.step()


def test_a_parameter_that_was_never_moved_has_no_moments_to_give():
    old, new = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(4))
    optimizer = torch.optim.Adam([old])
    exchange(optimizer, old, new, lambda moment: moment)
    assert optimizer.param_groups[0]["params"] == [new] and not optimizer.state
