"""Pairs kept and rejected, on embeddings made by hand."""

import pytest
import torch

from threestudio_like.metrics.pairing import Likeness, Limits, kept, likeness

LIMITS = Limits(text=0.2, image=0.7, direction=0.2, most=4)
WORDS = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.5, 0.0]])  # what changes is the second number


def rated(before: list[float], after: list[float]) -> Likeness:
    return likeness(torch.tensor([before]), torch.tensor([after]), *WORDS)


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ([1.0, 0.0, 0.5], [1.0, 0.4, 0.5], True),  # as the words do
        ([1.0, 0.0, 0.5], [1.0, 0.0, 0.5], False),  # nothing has changed
        ([1.0, 0.0, 0.5], [1.0, -0.4, 0.5], False),  # the other way
        ([1.0, 0.0, 0.5], [1.0, 0.02, 0.9], False),  # something else
        ([1.0, 0.0, 0.5], [0.3, 2.0, 0.0], False),  # another picture altogether
        ([0.0, 0.0, 1.0], [0.0, 0.3, 1.0], False),  # what is not what it is called
    ],
)
def test_each_limit_counts(before, after, wanted):
    found = rated(before, after)
    assert kept(Likeness(*(each[None] for each in found)), LIMITS).tolist() == [[wanted]]


def test_cosines():
    found = rated([0.0, 0.0, 2.0], [0.0, 3.0, 2.0])
    assert found.text.item() == 0.0
    assert found.image.item() == pytest.approx(2 / 13**0.5)
    assert found.direction.item() == pytest.approx(1.0)


def test_the_best_of_the_tries_by_direction():
    direction = torch.tensor([[0.3, 0.1], [0.9, 0.25], [0.5, 0.1], [0.7, 0.1]])
    fine = torch.ones(4, 2)
    fine[1, 0] = 0.5  # the best of all, but the pictures are unlike
    found = kept(Likeness(torch.ones(4, 2), fine, direction), LIMITS._replace(most=2))
    assert found.tolist() == [[False, False], [False, True], [True, False], [True, False]]
    assert kept(Likeness(torch.ones(4, 2), torch.ones(4, 2), direction), LIMITS).sum() == 4 + 1
