"""The plain material against the sigmoid's closed form."""

import torch

from threestudio_like.material.plain import Plain


def test_first_three_features_are_logits_of_the_colour():
    logits = torch.tensor([[0.0, 1.0, -1.0, 50.0]])
    rgb = Plain()(logits, None, torch.zeros(1, 3))
    expected = 1 / (1 + torch.exp(-torch.tensor([[0.0, 1.0, -1.0]])))
    torch.testing.assert_close(rgb, expected)


def test_light_and_view_play_no_part():
    features = torch.randn(5, 3)
    seen = [Plain()(features, torch.randn(5, 3), torch.randn(5, 3)) for _ in range(2)]
    assert torch.equal(*seen)
