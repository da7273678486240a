"""Features around grey."""

import torch

from threestudio_like.material.direct import Direct


def test_one_half_is_added():
    features = torch.tensor([[0.0, 0.25, -0.5, 9.0], [0.7, -0.7, 0.5, 9.0]], requires_grad=True)
    rgb = Direct()(features, None, torch.zeros(2, 3))
    torch.testing.assert_close(rgb, torch.tensor([[0.5, 0.75, 0.0], [1.0, 0.0, 1.0]]))
    rgb.sum().backward()
    assert features.grad[0, :2].eq(1).all() and features.grad[1, :2].eq(0).all()
