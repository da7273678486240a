"""The solid background."""

import pytest
import torch

from threestudio_like.background.solid import Solid


def test_every_direction_sees_the_colour():
    seen = Solid(rgb=[0.25, 0.5, 1])(torch.randn(2, 4, 5, 3))
    assert seen.shape == (2, 4, 5, 3)
    assert torch.equal(seen[1, 2, 3], torch.tensor([0.25, 0.5, 1.0]))


def test_it_is_not_saved():
    assert not Solid(rgb=[1, 1, 1]).state_dict()


def test_a_colour_has_three_numbers():
    with pytest.raises(ValueError, match="background.rgb"):
        Solid(rgb=[1.0])
