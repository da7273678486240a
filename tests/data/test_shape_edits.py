"""Edits of shapes' parts, told by the captions of what comes out."""

import numpy as np
import pytest
import torch

from threestudio_like.data import shapes
from threestudio_like.data.draw import Light
from threestudio_like.data.shape_edits import (
    SHAPE_KINDS,
    add,
    described,
    hue,
    on,
    paint,
    remove,
    replace,
    resize,
    thing,
)

LIGHT = Light(direction=[0.6, 0.0, 0.8], ambient=0.4, diffuse=0.6)


def made(index: int):
    return thing(shapes.shape(0, index), LIGHT)


RICH = next(i for i in range(100) if len(shapes.shape(0, i).parts) == 5)
PLAIN = next(i for i in range(100) if len(shapes.shape(0, i).parts) == 2)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("index", range(50))
def test_parts_say_the_caption(index):
    shape = shapes.shape(0, index)
    assert described(list(shape.parts)) == shape.caption


def test_a_part_stays_where_it_is_put():
    for index in range(30):
        body, *others = shapes.shape(0, index).parts
        for part in others:
            torch.testing.assert_close(on(part, body).center, part.center, atol=2e-3, rtol=0)


@pytest.mark.parametrize("seed", range(8))
def test_paint_changes_one_word_of_the_caption(seed):
    before, changes = paint(rng(seed), made(RICH))
    after = changes[0].look()
    words = list(zip(before.caption.split(), after.caption.split(), strict=True))
    changed = [new for old, new in words if old != new and new not in ("a", "an")]
    assert changed == [changes[0].words["hue"]]
    assert torch.equal(after.mesh.vertices, before.mesh.vertices)


def test_resize_keeps_the_body_and_the_words():
    body = len(shapes.mesh(shapes.Shape("", (shapes.shape(0, RICH).parts[0],))).vertices)
    for seed in range(8):
        before, changes = resize(rng(seed), made(RICH))
        bigger, smaller = (change.look() for change in changes)
        assert bigger.caption == smaller.caption == before.caption
        assert torch.equal(bigger.mesh.vertices[:body], before.mesh.vertices[:body])
        assert not torch.equal(bigger.mesh.vertices, before.mesh.vertices)


@pytest.mark.parametrize("seed", range(8))
def test_replace_swaps_the_kind_in_its_hue(seed):
    before, changes = replace(rng(seed), made(RICH))
    for change in changes:
        kind, after = change.words["a"].split()[-1], change.look()
        assert after.caption.split().count(kind) == before.caption.split().count(kind) + 1
        hues = [[word for word in look.caption.split() if word in shapes.COLORS] for look in (before, after)]
        assert hues[0] == hues[1]


def test_add_and_remove():
    before, changes = add(rng(), made(PLAIN))
    for change in changes:
        words = f"{change.words['a']} {change.words['place']}"
        assert words in change.look().caption and words not in before.caption
    before, changes = remove(rng(), made(RICH))
    assert [len(described_parts(change.look().caption)) for change in changes] == [4, 4, 4]
    assert remove(rng(), made(PLAIN))[1] == []


def described_parts(caption: str) -> list[str]:
    return [word for word in caption.split() if word in shapes.COLORS]


def test_a_name_says_which_part_is_meant():
    for index in range(20):
        each = made(index)
        for seed in range(5):
            _, changes = remove(rng(seed), each)
            for which, change in enumerate(changes, 1):
                words = change.words["the"].split()[1:]
                part = each.shape.parts[which]
                assert part.kind in words
                others = [p for p in each.shape.parts[:-1] if p is not part and p.kind == part.kind]
                assert all(len(words) > 1 and (hue(p) not in words) for p in others)


def test_every_kind_has_phrases():
    assert set(SHAPE_KINDS) >= {"colour", "part", "resize", "replace", "add", "remove", "light"}
