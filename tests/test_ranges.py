"""Ranges hold what they say, and say it."""

import math

import pytest

from threestudio_like.ranges import Between, Of, Rising, Spoken
from threestudio_like.run.signatures import fits, title_of


@pytest.mark.parametrize(
    ("rule", "inside", "outside", "words"),
    [
        (Between(1, math.inf, False), [1, 10**30], [0, -1], "of at least 1"),
        (Between(0, math.inf, True), [1e-9], [0, -1.0], "above 0"),
        (Between(0, 1, False), [0, 0.5, 1], [-0.1, 1.1, 10**400], "from 0 to 1"),
        (Between(0, 180, True), [1, 179.9], [0, 180], "between 0 and 180"),
        (
            Rising(Between(-90, 90, False)),
            [[-90, 90], [1, 1]],
            [[1, 0], [0, 91], [1]],
            "[low, high], each",
        ),
        (Rising(Between(-math.inf, math.inf, False)), [[-500, 500]], [[1, 0], [1, 2, 3]], "[low, high]"),
        (Spoken("a=b"), ["make it red"], ["", "  ", 3], "words, such as a=b"),
        (Of(3), [[0, 0, 1]], [[0, 0, 0], [1, 1]], "3 numbers"),
    ],
)
def test_what_holds(rule, inside, outside, words) -> None:
    assert all(map(rule.holds, inside)) and not any(map(rule.holds, outside))
    assert str(rule).startswith(words)


def test_annotations_are_read() -> None:
    from threestudio_like.ranges import Count, Positive, Side

    assert fits(3, Count) and not fits(0, Count) and not fits(3.0, Count) and not fits(True, Count)
    assert fits(None, Side | None) and fits(1, Positive) and not fits(math.nan, Positive)
    assert title_of(Side | None) == "a whole number from 1 to 16384 or null"
    assert title_of(Positive) == "a number above 0"
