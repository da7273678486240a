"""Judging edits: nearest pictures, pixels that stay, and whether a measure rises with its scale."""

import pytest
import torch

from threestudio_like.metrics.edit import (
    EQUAL,
    EditScore,
    lines,
    nearest_is_true,
    psnr_where,
    summary,
    touched,
)


def test_touched_is_where_any_channel_differs():
    before = torch.rand(2, 4, 4, 4)
    after = before.clone()
    after[1, 2, 3, 1] += 0.1
    assert touched(before, after).nonzero().tolist() == [[1, 2, 3]]


def test_the_nearest_picture_says_whether_it_came_out():
    true, other, before = torch.rand(3, 4, 4, 4)
    others = torch.stack([before, other])
    assert nearest_is_true(0.6 * true + 0.4 * other, true, others)
    assert not nearest_is_true(0.4 * true + 0.6 * other, true, others)
    assert not nearest_is_true(before, true, others)
    assert not nearest_is_true(before, before, others)  # nothing to tell them apart by


def test_psnr_counts_only_the_pixels_asked():
    true = torch.rand(4, 4, 3)
    sample = true + 0.1
    sample[0] = 9.0
    where = torch.ones(4, 4, dtype=torch.bool)
    where[0] = False
    assert psnr_where(sample, true, where) == pytest.approx(20, abs=1e-3)
    assert psnr_where(true, true, where) == EQUAL == psnr_where(sample, true, ~where & where)


def answers(accuracies: list[float]) -> list[EditScore]:
    """At picture scale 1 with these accuracies for words 0, 1, 2 ...; and one more picture scale."""
    scores = [
        EditScore(name, "colour", 1.0, float(s), {"accuracy": a, "untouched_psnr": 20.0 - s, "psnr": 10.0})
        for s, a in enumerate(accuracies)
        for name in ("cup", "chair")
    ]
    other = {"accuracy": 0.5, "untouched_psnr": 30.0, "psnr": 10.0}
    return [*scores, EditScore("cup", "size", 2.0, 1.0, other)]


@pytest.mark.parametrize("accuracies, rises", [([0.0, 0.5, 0.5], True), ([0.0, 0.7, 0.6], False)])
def test_monotone_in_its_own_scale(accuracies, rises):
    found = summary(answers(accuracies), 1.0, 1.0)
    assert found["text_scale"]["monotone"] is rises
    assert found["image_scale"]["monotone"] is True
    assert [mean["accuracy"].mean for mean in found["text_scale"]["means"].values()] == accuracies
    assert found["edits"] == 2 and set(found["kinds"]) == {"colour"}
    text = "\n".join(lines(found))
    assert ("accuracy never falls" in text) is rises and "| 2 " in text
