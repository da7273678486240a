"""Ladders of noise levels."""

import math

import pytest
import torch

from threestudio_like.schedule.ve import VE, Overlapping, betas, geometric, largest_distance, overlapping
from threestudio_like.schedule.vp import VP


def test_ladder_of_ncsn():
    ladder = geometric(10, 1.0, 0.01)
    assert ladder[0].item() == pytest.approx(1) and ladder[-1].item() == pytest.approx(0.01)
    torch.testing.assert_close(ladder[1:] / ladder[:-1], torch.full((9,), 0.599484))


def test_neighbours_of_the_overlapping_ladder():
    """Half of the radii of one level are common at the next, simulated."""
    dimensions = 3 * 32 * 32
    ladder = overlapping(dimensions, 50.0, 0.01)
    assert 200 < len(ladder) < 260  # NCSNv2 uses 232 for CIFAR-10
    ratio = (ladder[0] / ladder[1]).item()
    torch.manual_seed(0)
    radii = (math.sqrt(dimensions) + torch.randn(200_000) / math.sqrt(2)) * ratio
    share = ((radii - math.sqrt(dimensions)).abs() < 3 / math.sqrt(2) * ratio).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.02)


def test_an_overlapping_ladder_is_never_coarser_than_ncsn_s():
    """In the plane any two levels overlap, by its condition: 3 levels would do from 50 to 0.01."""
    torch.testing.assert_close(overlapping(2, 1.0, 0.01), geometric(10, 1.0, 0.01))
    lengths = [len(overlapping(dimensions, 50.0, 0.01)) for dimensions in (2, 28, 60, 1000)]
    assert lengths[0] == lengths[1] < lengths[2] < lengths[3]
    torch.testing.assert_close(Overlapping(3.0, 0.02).ladder(60).sigmas, overlapping(60, 3.0, 0.02))


def test_an_overlapping_ladder_falls():
    for start in (0.01, 0.001):
        with pytest.raises(ValueError, match="start: must lie above end"):
            overlapping(60, start, 0.01)


def test_largest_distance():
    """Of the corners of a cube of four dimensions, as pictures."""
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 3.0])] * 4).view(16, 1, 2, 2)
    assert largest_distance(corners) == pytest.approx(6.0)


def test_what_is_not_a_ladder():
    for sigmas in ([1.0, 1.0], [0.1, 1.0], [1.0, 0.0]):
        with pytest.raises(ValueError, match="sigmas"):
            VE(sigmas=torch.tensor(sigmas))


def test_deviation_is_shaped_like_its_pictures():
    schedule, x = VE(sigmas=geometric(3, 1.0, 0.01)), torch.zeros(2, 3, 4, 4)
    assert schedule.deviation(torch.tensor([0, 2]), x).shape == (2, 1, 1, 1)
    assert schedule.deviation(torch.tensor([0, 2]), x).flatten().tolist() == pytest.approx([1.0, 0.01])


def test_a_ladder_as_a_chain():
    """(x + sigma z) / sqrt(1 + sigma^2) is x_t of the chain, with noise that grows."""
    ladder = geometric(10, 2.0, 0.02)
    chain, x, z = VP(betas=betas(ladder)), torch.randn(10, 3), torch.randn(10, 3)
    sigma, t = ladder[:, None], 9 - torch.arange(10)
    torch.testing.assert_close(chain.noised(x, z, t), (x + sigma * z) / (1 + sigma**2).sqrt())
    assert (chain.alpha_bar.diff() < 0).all()
