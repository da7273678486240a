"""The perceptron: point by point, level by level, and twice differentiable."""

import torch

from threestudio_like.losses.score import exact
from threestudio_like.priors.base import Condition
from threestudio_like.priors.points import Denoiser


def test_points_do_not_see_each_other_and_levels_count():
    torch.manual_seed(0)
    network = Denoiser(channels=2, width=8, depth=2)
    x, t = torch.randn(4, 2, 1, 1), torch.tensor([0, 3, 3, 9])
    said = network(x, t, Condition())
    alone = network(x[1:2], t[1:2], Condition())
    torch.testing.assert_close(said[1:2], alone)
    assert (network(x[1:2], t[3:], Condition()) - alone).abs().max() > 1e-3


def test_its_trace_can_be_trained():
    network = Denoiser(channels=2, width=8, depth=2)
    t = torch.full((6,), 5)
    exact(lambda x: network(x, t, Condition()), torch.randn(6, 2, 1, 1)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.layers.parameters())
