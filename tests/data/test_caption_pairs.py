"""Edits in words: of names to train on, the same for the same number, with both captions."""

import pytest
import torch

from threestudio_like.data.album import Cameras
from threestudio_like.data.caption_pairs import CaptionPairs
from threestudio_like.data.draw import Light
from threestudio_like.data.objects import held_out
from threestudio_like.data.pairs import Pairs
from threestudio_like.data.shapes import Shapes


def captions(swaps: float = 0.5, **changes) -> CaptionPairs:
    settings = {"share": 1.0, "kinds": {"colour": 1}, "views": 1, "batch_size": 6, "validation": 6, **changes}
    pairs = Pairs(
        source=Shapes(count=30, seed=3),
        cameras=Cameras(fov_y=49.134, distance=[1.4, 1.9], elevation=[-10.0, 60.0], size=16),
        light=Light(direction=[0.6, 0.0, 0.8], ambient=0.4, diffuse=0.6),
        seed=0,
        **settings,
    )
    return CaptionPairs(pairs=pairs, tasks=3, swaps=swaps)


def test_swaps_and_edits():
    data = captions()
    asked = [data.asked(step) for step in range(6)]
    names = {each.name for each in data.pairs.split[False]}
    swapped = 0
    for each in asked:
        assert len(each.camera.c2w) == len(each.camera.fov_y) == 6 == len(each.instructions)
        for name, before, after in zip(each.names, each.before, each.after, strict=True):
            assert name in names and not held_out(name) and before != after
            swapped += after in names
            assert before in (name, f"a {name}", f"an {name}")
    assert 8 < swapped < 28  # of 36
    again = captions().asked(4)
    assert again[:-1] == asked[4][:-1] and torch.equal(again.camera.c2w, asked[4].camera.c2w)


def test_a_swap_says_both_names():
    asked = captions(swaps=1.0).asked(0)
    for instruction, after in zip(asked.instructions, asked.after, strict=True):
        assert after.split()[-1] in instruction


def test_mistakes():
    with pytest.raises(ValueError, match=r"pairs.views"):
        captions(views=2)
    with pytest.raises(ValueError, match="swaps"):
        captions(share=0)
