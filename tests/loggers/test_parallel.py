"""Lines cross the axes where their values are, in the colour of the last one."""

import math

import pytest

from threestudio_like.loggers.parallel import APART, DARK, HEIGHT, PALE, TOP, marks, parallel, places


def test_places_of_numbers_and_words() -> None:
    assert places([1.0, 3.0, 2.0]) == [0.0, 1.0, 0.5]
    assert places(["sdf", "volume", "sdf", "tets"]) == [0.0, 0.5, 0.0, 1.0]
    assert places([1.0, 100.0, 10.0]) == pytest.approx([0.0, 1.0, 0.5])  # far apart: by their logarithms
    assert places([7.0, 7.0]) == [0.5, 0.5]
    assert math.isnan(places([1.0, math.nan, 2.0])[1])


def test_an_axis_says_its_ends_and_its_words() -> None:
    assert marks([0.5, 1.5, math.nan, 1.0]) == [("0.5", 0.0), ("1", 0.5), ("1.5", 1.0)]
    assert marks(["a", "b"]) == [("a", 0.0), ("b", 1.0)]


@pytest.mark.parametrize("reverse", [False, True])
def test_lines_and_their_colours(reverse: bool) -> None:
    """At a quarter of the way, one run is three quarters up and the other a quarter."""
    image = parallel({"rate": [0.0, 1.0], "score": [1.0, 0.0]}, reverse=reverse)
    assert image.shape[1] == 2 * APART
    pixels = (image * 255).round().int()
    x = APART // 2 + APART // 4
    ink = {
        tuple(pixels[row, x].tolist()): row
        for row in range(TOP, TOP + HEIGHT)
        if tuple(pixels[row, x].tolist()) in (PALE, DARK)
    }
    falling, rising = (PALE, DARK) if not reverse else (DARK, PALE)  # by the score they end at
    assert ink[rising] == pytest.approx(TOP + 0.75 * HEIGHT, abs=3)
    assert ink[falling] == pytest.approx(TOP + 0.25 * HEIGHT, abs=3)


def test_a_run_without_a_score_is_grey_and_stops() -> None:
    image = (parallel({"a": [0.0, 1.0], "b": [0.0, math.nan]}, reverse=False) * 255).round().int()
    assert (image[TOP : TOP + 3, APART : 2 * APART] == 215).all(
        -1
    ).sum() == 0  # nothing at the top, beside `a`
