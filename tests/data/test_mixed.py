"""Sources put together."""

import pytest

from threestudio_like.data.mixed import Mixed
from threestudio_like.data.shapes import Shapes


def test_objects_of_all_sources_in_order():
    one, other = Shapes(count=2, seed=0), Shapes(count=3, seed=1)
    mixed = Mixed(sources={"one": one, "other": other})
    assert [o.name for o in mixed.load()] == [o.name for o in one.load() + other.load()]


def test_the_fingerprint_follows_the_sources():
    def printed(count: int, seed: int) -> str:
        return Mixed(
            sources={"a": Shapes(count=2, seed=0), "b": Shapes(count=count, seed=seed)}
        ).fingerprint()

    assert printed(3, 1) == printed(3, 1)
    assert len({printed(3, 1), printed(4, 1), printed(3, 2)}) == 3


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Mixed(sources={})
