"""The text gate on embeddings and pictures made by hand."""

import pytest
import torch

from threestudio_like.metrics import text_gate
from threestudio_like.metrics.paired import Estimate
from threestudio_like.metrics.text_gate import Accuracy, Distance, Rules

RULES = Rules(errors=2.0, times=3.0)


def test_a_name_counts_once_however_often_it_is_pictured():
    """Three pictures of cups, of which two are found, and one chair that is taken for a cup: 2/3 and 0."""
    words = torch.eye(3)
    pictures = torch.tensor([[1.0, 0, 0], [1, 0.2, 0], [0, 0, 1], [1, 0, 0.1]])
    found = text_gate.accuracy(pictures, ["cup", "cup", "cup", "chair"], ["cup", "chair", "lamp"], words)
    assert found.names == 3 and found.guessing == {1: pytest.approx(1 / 3), 3: 1.0}
    assert found.found[1].mean == pytest.approx((2 / 3 + 0) / 2)
    assert found.found[3].mean == 1.0


def test_the_floor_is_of_pictures_that_were_trained_on():
    torch.manual_seed(0)
    truth, trained = torch.rand(2, 20, 16, 16, 4)
    near = text_gate.distance(truth, truth, trained)
    assert near.samples == pytest.approx(0, abs=1e-6) and near.floor > 0.01 and near.pictures == 20
    far = text_gate.distance(torch.zeros_like(truth), truth, trained)
    assert far.floor == pytest.approx(near.floor) and far.samples > 10 * far.floor


def accuracies(mean: float, error: float | None = 0.05):
    """What was found of samples of unseen names."""
    each = Accuracy(50, {1: 0.02, 5: 0.1}, {1: Estimate(mean / 2, error, 50), 5: Estimate(mean, error, 50)})
    return {"seen": {"sample": each, "true": each}, "unseen": {"sample": each, "true": each}}


@pytest.mark.parametrize(
    ("told", "far", "passed"),
    [
        (accuracies(0.25), Distance(1.0, 0.5, 192), True),
        (accuracies(0.15), Distance(1.0, 0.5, 192), False),  # not surely more than guessing
        (accuracies(0.25, None), Distance(1.0, 0.5, 192), False),  # one name says nothing
        (accuracies(0.25), Distance(1.6, 0.5, 192), False),  # too far
        ({}, Distance(1.0, 0.5, 192), False),  # nobody to tell
    ],
)
def test_both_parts_are_needed(told, far, passed):
    verdict = text_gate.judged(told, far, RULES)
    assert verdict.passed is passed
    text = "\n".join(text_gate.lines(verdict, RULES))
    assert f"the gate: {'passed' if passed else 'failed'}" in text
    assert ("not asked" in text) is not bool(told) and "FID" not in text
    found = text_gate.numbers(verdict)
    assert found["frechet_edges96/floor"] == 0.5 and found["passed"] == passed
    assert ("unseen/sample/top5" in found) is bool(told)
