"""Curves are read from torn files, thinned without moving, and drawn to scale."""

import json
import math
import re

import pytest

from threestudio_like.run.curves import HEIGHT, MARGIN, MAX_POINTS, WIDTH, charts, curves, drawn, thinned


def corners(svg: str) -> list[tuple[float, float]]:
    (path,) = re.findall(r"points='([^']+)'", svg)
    pairs = (point.split(",") for point in path.split())
    return [(float(x), float(y)) for x, y in pairs]


def test_curves_skip_what_is_not_a_number():
    lines = [
        '{"step": 0, "a": 1.0, "epoch": 0}',
        "cut",
        '{"step": 1, "a": NaN, "b": 2, "words": "many"}',
        '{"step": 2, "a": 3.0, "words": "more"}',
        "[1]",
        '{"a": 7.0}',
        '{"step": "3", "a": 7.0}',
        '{"step": 4, "a": Infinity}',
    ]
    assert curves(lines) == {"a": [(0, 1.0), (2, 3.0)]}  # b is one point, which is no curve


@pytest.mark.parametrize("count", [2, MAX_POINTS, MAX_POINTS + 1, 1000])
def test_thinning_keeps_a_straight_line(count):
    """Means of neighbours lie on the line that they are means of."""
    points = [(float(step), 3.0 - 2.0 * step) for step in range(count)]
    few = thinned(points)
    assert len(few) == math.ceil(count / math.ceil(count / MAX_POINTS)) <= MAX_POINTS
    assert all(y == pytest.approx(3 - 2 * x) for x, y in few)
    assert all(a[0] < b[0] for a, b in zip(few, few[1:], strict=False))
    if count <= MAX_POINTS:
        assert few == points


def test_thinning_keeps_the_mean():
    points = [(float(step), float(step % 7)) for step in range(10 * MAX_POINTS)]  # groups of equal size
    few = thinned(points)
    assert len(few) == MAX_POINTS
    for axis in (0, 1):
        means = (sum(point[axis] for point in line) / len(line) for line in (few, points))
        assert next(means) == pytest.approx(next(means))


def test_a_line_is_drawn_to_scale():
    """From the left margin to the right one, the least at the bottom; svg's y runs down."""
    found = corners(drawn("a", [(10.0, 5.0), (15.0, 4.0), (30.0, 1.0)]))
    across, down = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    expected = [(0.0, 0.0), (0.25 * across, 0.25 * down), (across, down)]
    for (x, y), (right, below) in zip(found, expected, strict=True):
        assert (x, y) == (pytest.approx(MARGIN + right, abs=0.06), pytest.approx(MARGIN + below, abs=0.06))


def test_a_constant_is_a_level_line():
    assert {y for _, y in corners(drawn("a", [(0.0, 2.0), (9.0, 2.0)]))} == {HEIGHT - MARGIN}


def test_the_caption_has_the_last_value_the_span_and_the_step():
    svg = drawn("<a & b>", [(0.0, 0.5), (10.0, 2.0), (20.0, 1.25)])
    assert "&lt;a &amp; b&gt;: 1.25 <small>(0.5 to 2, step 20)</small>" in svg and "<a" not in svg


def test_charts_of_a_file_cut_short(tmp_path):
    file = tmp_path / "metrics.jsonl"
    assert charts(file) == ""
    lines = [json.dumps({"step": step, "loss/rgb": 1 / (step + 1), "loss/mask": 2.0}) for step in range(9)]
    file.write_bytes("\n".join(lines).encode() + b'\n{"step": 9, "loss/\xc3')  # half of a letter, too
    found = charts(file)
    assert re.findall(r"<figcaption>([^:]+):", found) == ["loss/rgb", "loss/mask"]
    assert found.count("step 8)") == 2


def test_what_is_set_is_not_charted(tmp_path):
    file = tmp_path / "metrics.jsonl"
    lines = [
        {"step": step, "loss": step, "lr/0": 0.1, "weight/rgb": 2.0, "system/cpu_percent": 5}
        for step in (0, 1)
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    assert charts(file).count("<svg") == 1
