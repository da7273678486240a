"""InfoNCE where it is known in closed form, and what it must not depend on."""

import math

import pytest
import torch
import torch.nn.functional as F

from threestudio_like.losses.contrastive import info_nce

EYE = torch.eye(5, dtype=torch.bool)


def unit(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(5, 8, generator=generator, dtype=torch.float64), dim=-1)


@pytest.mark.parametrize("scale", [0.5, 3.0, 20.0])
def test_orthogonal_embeddings_that_match(scale):
    """Of the B logits one is the scale and the others are 0."""
    basis = torch.eye(5, 8, dtype=torch.float64)
    expected = math.log(math.exp(scale) + 4) - scale
    found = info_nce(basis, basis, torch.tensor(scale, dtype=torch.float64), EYE)
    assert found.item() == pytest.approx(expected)


def test_all_orthogonal_is_guessing_whatever_the_temperature():
    basis = torch.eye(10, dtype=torch.float64)
    for scale in (1.0, 50.0):
        found = info_nce(basis[:5], basis[5:], torch.tensor(scale, dtype=torch.float64), EYE)
        assert found.item() == pytest.approx(math.log(5))


def test_it_is_the_mean_of_both_cross_entropies():
    one, other, scale = unit(0), unit(1), torch.tensor(4.0, dtype=torch.float64)
    logits, index = scale * one @ other.T, torch.arange(5)
    expected = (F.cross_entropy(logits, index) + F.cross_entropy(logits.T, index)) / 2
    torch.testing.assert_close(info_nce(one, other, scale, EYE), expected)
    torch.testing.assert_close(info_nce(other, one, scale, EYE), expected)


def test_the_order_of_the_examples_does_not_matter_but_who_belongs_to_whom_does():
    one, other, scale = unit(0), unit(1), torch.tensor(4.0, dtype=torch.float64)
    loss, order = info_nce(one, other, scale, EYE), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(info_nce(one[order], other[order], scale, EYE), loss)
    assert (info_nce(one[order], other, scale, EYE) - loss).abs() > 0.01
    torch.testing.assert_close(info_nce(one[order], other, scale, EYE[order]), loss)


def test_gradients_move_with_the_examples():
    other, scale, order = unit(1), torch.tensor(4.0, dtype=torch.float64), torch.tensor([3, 0, 4, 1, 2])
    one, moved = unit(0).requires_grad_(), unit(0)[order].requires_grad_()
    info_nce(one, other, scale, EYE).backward()
    info_nce(moved, other[order], scale, EYE).backward()
    torch.testing.assert_close(moved.grad, one.grad[order])


def test_equal_captions_are_no_mistake():
    """Two pictures of one caption: the best there is to do is to find both alike."""
    basis, scale = torch.eye(2, 8, dtype=torch.float64), torch.tensor(30.0, dtype=torch.float64)
    pair = basis[[0, 0, 1]]
    alike = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    assert info_nce(pair, pair, scale, alike).item() == pytest.approx(2 / 3 * math.log(2), abs=1e-9)


def test_gradient():
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    one, other = unit(0).requires_grad_(), unit(1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b, s: info_nce(a, b, s, EYE), (one, other, scale))
