"""Means and standard errors over objects, by hand."""

import pytest

from threestudio_like.metrics.paired import Estimate, estimated


def test_an_object_counts_once_however_often_it_was_measured():
    found = estimated([("cup", 1.0), ("cup", 3.0), ("cup", 2.0), ("lamp", 6.0)])
    assert found == Estimate(4.0, pytest.approx(2.0), 2)  # means 2 and 6: deviation 8^0.5, over 2^0.5


def test_one_object_has_no_error_and_is_above_nothing():
    found = estimated([("cup", 5.0), ("cup", 7.0)])
    assert found == Estimate(6.0, None, 1)
    assert not found.above(0.0, 2.0)
    assert str(found) == "6"


def test_above_counts_errors():
    found = Estimate(1.0, 0.3, 10)
    assert found.above(0.0, 3.0) and not found.above(0.0, 3.5)
    assert found.above(0.3, 2.0) and not found.above(0.5, 2.0)
    assert str(found) == "1 ± 0.3"
