"""Depth without scale and shift, against closed forms."""

import pytest
import torch

from threestudio_like.ops.depth import aligned, painted, relative


@pytest.fixture
def depth():
    return torch.rand(2, 6, 5, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def mask():
    return (torch.rand(2, 6, 5, 1, generator=torch.Generator().manual_seed(1)) > 0.4).double()


def test_relative_depth_has_mean_0_and_mean_deviation_1_under_the_mask(depth, mask):
    x = relative(depth, mask)
    for one, inside in zip(x, mask > 0, strict=True):
        assert one[inside].mean().item() == pytest.approx(0, abs=1e-12)
        assert one[inside].abs().mean().item() == pytest.approx(1)
        assert (one[~inside] == 0).all()


def test_relative_depth_is_blind_to_scale_and_shift_but_not_to_the_sign(depth, mask):
    torch.testing.assert_close(relative(3 * depth + 7, mask), relative(depth, mask))
    torch.testing.assert_close(relative(-depth, mask), -relative(depth, mask))


def test_nothing_seen_is_no_depth(depth):
    assert (relative(depth, torch.zeros_like(depth)) == 0).all()


def test_alignment_finds_the_scale_and_the_shift(depth, mask):
    truth = 2.5 * depth - 1
    torch.testing.assert_close(aligned(depth, truth, mask), truth * mask)


def test_alignment_is_the_least_squares_one(depth, mask):
    truth = depth**2 + 0.1 * depth.roll(1, 1)
    found = aligned(depth, truth, mask)
    for d, z, inside, got in zip(depth, truth, mask > 0, found, strict=True):
        columns = torch.stack([d[inside], torch.ones_like(d[inside])], dim=-1)
        best = torch.linalg.lstsq(columns, z[inside][:, None]).solution
        torch.testing.assert_close(got[inside], (columns @ best)[:, 0])


def test_alignment_never_turns_near_and_far_around(depth, mask):
    found = aligned(-depth, depth, mask)
    for z, inside, got in zip(depth, mask > 0, found, strict=True):
        torch.testing.assert_close(got[inside], z[inside].mean().expand(int(inside.sum())))


def test_near_is_light_and_what_is_not_seen_is_white(depth, mask):
    seen = painted(depth, mask)
    for d, inside, picture in zip(depth, mask[..., 0] > 0, seen, strict=True):
        assert (picture[~inside] == 1).all()
        order = d[inside][:, 0].argsort()
        assert (picture[inside][order].diff(dim=0) <= 0).all()
