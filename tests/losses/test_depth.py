"""The affine-invariant loss on depths whose answer is known."""

import pytest
import torch

from threestudio_like.losses.depth import affine_invariant


@pytest.fixture
def ramp():
    return torch.linspace(0, 1, 8, dtype=torch.float64).view(1, 2, 4, 1)


def test_scale_and_shift_are_free_and_the_sign_is_not(ramp):
    mask = torch.ones_like(ramp)
    assert affine_invariant(0.2 * ramp + 5, ramp, mask).item() == pytest.approx(0, abs=1e-12)
    # both have a mean deviation of 1, so that turned around they differ by 2 on average
    assert affine_invariant(-ramp, ramp, mask).item() == pytest.approx(2)


def test_what_is_not_seen_does_not_count(ramp):
    mask = (torch.arange(8) < 6).double().view(1, 2, 4, 1)
    wrong = torch.where(mask > 0, ramp, 100.0)
    assert affine_invariant(wrong, ramp, mask).item() == pytest.approx(0, abs=1e-12)
    assert affine_invariant(wrong, ramp, torch.ones_like(mask)) > 0.1
    assert affine_invariant(wrong, ramp, torch.zeros_like(mask)) == 0


def test_gradient(ramp):
    target, mask = ramp.roll(3, 2), (ramp > 0.1).double()
    depth = (ramp + 0.1 * ramp.square()).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: affine_invariant(d, target, mask), depth)
