"""Bilinear reading against grids with known values; filling against what a hole must become."""

import pytest
import torch

from threestudio_like.ops.texture import fill, sample


def test_texel_centres_read_their_texel_and_v_runs_up():
    texture = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(0))
    row, column = torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij")
    uv = torch.stack([(column + 0.5) / 4, 1 - (row + 0.5) / 3], dim=-1)
    assert torch.allclose(sample(texture, uv), texture, atol=1e-6)


def test_halfway_between_texels_is_their_mean_and_edges_clamp():
    texture = torch.tensor([[[0.0], [1.0]], [[2.0], [5.0]]])
    assert sample(texture, torch.tensor([[0.5, 0.5]])).item() == pytest.approx(2.0)
    assert sample(texture, torch.tensor([0.0, 1.0])).item() == pytest.approx(0.0)
    assert sample(texture, torch.tensor([1.0, 0.0])).item() == pytest.approx(5.0)


def test_gradients():
    texture = torch.rand(4, 5, 3, dtype=torch.float64, requires_grad=True)
    # away from texel centres, where the bilinear surface has creases
    uv = torch.tensor([[0.33, 0.41], [0.61, 0.78]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sample, (texture, uv))


def test_fill_keeps_what_is_known_and_reaches_everywhere():
    texture = torch.rand(37, 53, 3)
    known = torch.rand(37, 53) < 0.02
    filled = fill(texture, known, 3)
    assert torch.equal(filled[known], texture[known])
    low, high = texture[known].amin(0), texture[known].amax(0)
    assert (filled >= low - 1e-5).all() and (filled <= high + 1e-5).all()


def test_fill_of_two_constant_halves_stays_sharp_within_the_margin():
    texture, known = torch.zeros(32, 64, 1), torch.zeros(32, 64, dtype=torch.bool)
    known[10:20, 4:20] = known[10:20, 40:60] = True
    texture[:, 32:] = 1.0
    texture[~known] = 7.0  # must never be read
    filled = fill(texture, known, 4)
    assert torch.equal(filled[10:20, 20:24], torch.zeros(10, 4, 1))
    assert torch.equal(filled[10:20, 36:40], torch.ones(10, 4, 1))
    assert filled.max() <= 1.0


def test_fill_of_one_known_texel_is_constant():
    texture, known = torch.zeros(9, 5, 3), torch.zeros(9, 5, dtype=torch.bool)
    texture[8, 4], known[8, 4] = torch.tensor([0.2, 0.4, 0.6]), True
    assert torch.allclose(fill(texture, known, 1), torch.tensor([0.2, 0.4, 0.6]).expand(9, 5, 3), atol=1e-6)
