"""Words of cameras: at their borders, and Perp-Neg's mixture by hand."""

import math

import pytest
import torch

from threestudio_like.ops.camera import orbit
from threestudio_like.priors.words import Perpendicular, Words

ANGLES = {"form": "{prompt}, {view} view", "front": 30, "back": 40, "overhead": 60}


def cameras(*degrees: tuple[float, float]):
    azimuth, elevation = (torch.tensor(degrees).float() * math.pi / 180).unbind(-1)
    ones = torch.ones(len(degrees))
    return orbit(azimuth=azimuth, elevation=elevation, distance=ones, fov_y=ones, height=1, width=1)


@pytest.mark.parametrize(
    ("azimuth", "elevation", "view"),
    [
        (0, 0, "front"),
        (-29, 59, "front"),
        (31, 0, "side"),
        (-139, 0, "side"),
        (141, 0, "back"),
        (0, 61, "overhead"),
    ],
)
def test_one_word_for_each_camera(azimuth, elevation, view):
    (told,) = Words(**ANGLES)(["a cup"], cameras((azimuth, elevation)))
    assert told == ({f"a cup, {view} view": 1.0}, [])


def test_another_form():
    words = Words(**ANGLES | {"form": "{view} view of {prompt}"})
    assert words.texts("a {view} cup")[2] == "back view of a {view} cup"
    with pytest.raises(ValueError, match="^form: needs"):
        Words(**ANGLES | {"form": "{prompt} from the front"})


def test_no_prompt_leaves_the_word():
    assert Words(**ANGLES).texts("") == ["front view", "side view", "back view", "overhead view"]


def test_perpendicular_by_hand():
    """stable-dreamfusion's numbers: f(x) = a exp(-b x) + c with b = 1/2."""
    front, side, back = (f"a, {view} view" for view in ("front", "side", "back"))
    camera = cameras((0, 0), (-45, 0), (90, 0), (135, 0), (180, 0), (10, 70))
    told = Perpendicular(**ANGLES)(["a"] * 6, camera)
    shares = [
        {front: 1, side: 0},
        {front: 0.5, side: 0.5},
        {side: 1, back: 0},
        {side: 0.5, back: 0.5},
        {side: 0, back: 1},
    ]
    pushes = [
        [(front, 0.00012), (side, 1.574)],
        [(front, 0.68920), (side, 0.68920)],
        [(side, 0.00053), (front, 1.57353)],
        [(side, 0.17280), (front, 1.74580)],
        [(side, 0.394), (front, 1.967)],
    ]
    for one, shown, negatives in zip(told, shares, pushes, strict=False):
        assert one.shown == pytest.approx(shown, abs=1e-5)
        assert [text for text, _ in one.negatives] == [text for text, _ in negatives]
        for (_, ours), (_, theirs) in zip(one.negatives, negatives, strict=True):
            assert ours == pytest.approx(theirs, abs=2e-5)
    assert told[5].shown == {"a, overhead view": 1.0} and {push for _, push in told[5].negatives} == {0.0}


def test_the_mixture_has_no_jumps():
    turns = torch.linspace(-179.9, 179.9, 721)
    told = Perpendicular(**ANGLES)(["a"] * len(turns), cameras(*((float(a), 0.0) for a in turns)))
    values = [{**{f"+{k}": v for k, v in t.shown.items()}, **dict(t.negatives)} for t in told]
    for one, other in zip(values, values[1:], strict=False):
        for name in one.keys() | other.keys():
            assert abs(one.get(name, 0.0) - other.get(name, 0.0)) < 0.02, name
