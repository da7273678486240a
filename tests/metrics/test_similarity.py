"""Retrieval, directions of edits, agreement of views, on embeddings made by hand."""

import pytest
import torch

from threestudio_like.metrics.similarity import directional_similarity, retrieval, view_consistency


def test_retrieval_counts_right_answers_among_the_nearest():
    asked = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    answers = torch.tensor([[0.9, 0.1], [5.0, 5.0], [-1.0, 0.0]])  # lengths do not matter
    right = torch.tensor([[True, False, False], [False, False, True]])
    assert retrieval(asked, answers, right, 1).tolist() == [1, 0]
    assert retrieval(asked, answers, right, 2).tolist() == [1, 0]
    assert retrieval(asked, answers, right, 3).tolist() == [1, 1]


def test_direction_is_of_the_change_alone():
    generator = torch.Generator().manual_seed(0)
    before, words, change = torch.randn(3, 4, 6, generator=generator)
    same = directional_similarity(before, before + 0.3 * change, words, words + 2 * change)
    torch.testing.assert_close(same, torch.ones(4))
    opposite = directional_similarity(before, before - change, words, words + change)
    torch.testing.assert_close(opposite, -torch.ones(4))
    aside = (
        change.roll(1, 1)
        - (change.roll(1, 1) * change).sum(-1, keepdim=True) / change.square().sum(-1, keepdim=True) * change
    )
    across = directional_similarity(before, before + aside, words, words + change)
    torch.testing.assert_close(across, torch.zeros(4), atol=1e-5, rtol=0)
    assert (directional_similarity(before, before, words, words + change) == 0).all()


def test_views_that_are_one_agree_and_those_that_are_orthogonal_do_not():
    assert view_consistency(torch.tensor([[1.0, 2.0]] * 3)).item() == pytest.approx(1)
    assert view_consistency(torch.eye(4)).item() == pytest.approx(0)
    three = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])  # of three pairs one agrees
    assert view_consistency(three).item() == pytest.approx(1 / 3)
