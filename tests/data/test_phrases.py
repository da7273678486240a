"""Every phrasing can be said, and says all that it is given."""

import numpy as np
import pytest

from threestudio_like.data.phrases import PHRASES, SYNONYMS, said

WORDS = {
    "the": "the nose",
    "a": "a red cone",
    "hue": "blue",
    "stuff": "wood",
    "more": "flatter",
    "place": "on top",
    "lamp": "from above",
    "level": "brighter",
}


@pytest.mark.parametrize("kind", PHRASES)
def test_all_phrasings_come_up_and_have_the_attribute(kind):
    rng = np.random.default_rng(0)
    found = {said(rng, kind, WORDS) for _ in range(300)}
    assert len(found) == len(PHRASES[kind]) >= 3
    last = {"remove": "nose", "replace": "cone", "add": "cone", "size": "flatter"}
    value = {"colour": "blue", "part": "blue", "material": "wood", "light": "above", "dim": "brighter"} | last
    assert all(value[kind] in sentence for sentence in found)


def test_synonyms_stand_for_whole_words():
    rng = np.random.default_rng(0)
    found = {said(rng, "remove", {"the": "the sphere on top"}) for _ in range(200)}
    assert any("ball on top" in sentence for sentence in found) and any("sphere" in s for s in found)
    assert all(words[0] == word for word, words in SYNONYMS.items())
