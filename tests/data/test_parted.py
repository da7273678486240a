"""Twins of held-out objects are found by shape, whatever their name or colour; others stay."""

from itertools import islice

import pytest
import torch

from threestudio_like.data.objects import Object, held_out
from threestudio_like.data.parted import Parted
from threestudio_like.data.shapes import mesh, shape

NAMES = (f"thing {i}" for i in range(1000))
HELD_OUT = next(name for name in NAMES if held_out(name))
SEEN = list(islice((name for name in NAMES if not held_out(name)), 4))


@pytest.fixture
def parted(tmp_path):
    """Made of nothing: what it parts is given by hand."""
    (tmp_path / "meshes").mkdir()
    settings = {"views": 4, "side": 32, "cache": str(tmp_path)}
    return lambda twin=35.0: Parted(path=str(tmp_path / "meshes"), twin=twin, **settings)


def test_a_twin_of_another_name_and_colour_is_left_out(parted):
    one, other = mesh(shape(0, 1)), mesh(shape(0, 2))
    painted = one._replace(rgb=torch.rand_like(one.rgb))
    objects = [Object(SEEN[0], painted), Object(HELD_OUT, one), Object(SEEN[1], other), Object(SEEN[2], one)]
    assert [each.name for each in parted().parted(objects)] == [HELD_OUT, SEEN[1]]


def test_a_stretched_copy_is_another_shape(parted):
    one = mesh(shape(0, 1))
    wide = one._replace(vertices=one.vertices * torch.tensor([1.0, 0.7, 1.0]))
    assert len(parted().parted([Object(HELD_OUT, one), Object(SEEN[0], wide)])) == 2


def test_twins_among_those_to_train_on_stay(parted):
    one, other = mesh(shape(0, 1)), mesh(shape(0, 2))
    objects = [Object(SEEN[0], one), Object(SEEN[1], one), Object(HELD_OUT, other)]
    assert len(parted().parted(objects)) == 3
    assert len(parted().parted(objects[:2])) == 2  # nothing is held out


def test_the_nearer_the_brighter(parted):
    picture = parted().nearness(mesh(shape(0, 1)))
    assert picture.shape == (4, 32, 32) and picture[:, 0, 0].max() == 0 and 0.4 < picture.max() < 1


def test_it_is_compared_once_and_again_when_the_rule_changes(parted, monkeypatch):
    calls = []
    objects = [Object(HELD_OUT, mesh(shape(0, 1))), Object(SEEN[0], mesh(shape(0, 2)))]
    for twin in (35.0, 35.0, 20.0):
        source = parted(twin)
        monkeypatch.setattr(source.source, "load", lambda: calls.append(1) or objects)
        assert [each.name for each in source.load()] == [HELD_OUT, SEEN[0]]
    assert len(calls) == 2
