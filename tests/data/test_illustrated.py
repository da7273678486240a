"""Emoji among views of objects: how many, which ones, unchanged, and the same again."""

import pytest
import torch
from PIL import Image

from threestudio_like.data.album import Cameras, Variety
from threestudio_like.data.draw import Light
from threestudio_like.data.emoji import Emoji
from threestudio_like.data.illustrated import Illustrated
from threestudio_like.data.objects import held_out
from threestudio_like.data.shapes import Shapes
from threestudio_like.data.views import Augmentation
from threestudio_like.export.model import Pictures
from threestudio_like.priors.text import view_words

RED = (200, 10, 20)


@pytest.fixture
def data(tmp_path):
    """Shapes and red squares called as animals."""
    (tmp_path / "emoji").mkdir()
    for code in range(0x1F400, 0x1F43F):
        square = Image.new("RGBA", (32, 32))
        square.paste((*RED, 255), (4, 4, 28, 28))
        square.save(tmp_path / "emoji" / f"{code:x}.png")

    def make(share: float = 0.25, references: bool = False) -> Illustrated:
        cache = str(tmp_path / "cache")
        made = Illustrated(
            source=Shapes(count=12, seed=3),
            pictures=Emoji(path=str(tmp_path / "emoji"), copies=2, fill=[0.5, 0.7], seed=0, cache=cache),
            share=share,
            retouching=Augmentation(color=0.0, mirror=False),
            cameras=Cameras(fov_y=49.134, distance=[1.4, 1.9], elevation=[-10.0, 60.0], size=16),
            variety=Variety(variants=1, views=2, stretch=1.0, seed=0),
            light=Light(direction=[0.6, 0.0, 0.8], ambient=0.4, diffuse=0.6),
            favour=1,
            augmentation=Augmentation(color=0.5, mirror=True),
            references=references,
            batch_size=8,
            validation=12,
            seed=0,
            cache=cache,
        )
        made.prepare_data()
        made.setup("fit")
        return made

    return make


def animals(prompts: list[str]) -> int:
    """Captions of shapes say their colours; names of animals do not."""
    shapes = {shape.name for shape in Shapes(count=12, seed=3).load()}
    return sum(prompt not in shapes for prompt in prompts)


@pytest.mark.parametrize("references", [False, True])
def test_a_share_of_each_batch(data, references):
    made = data(references=references)
    batch = made.example(5, 0)
    assert animals(batch.prompts) == animals(batch.prompts[6:]) == 2
    views = [batch.target] + ([batch.reference] if references else [])
    assert (batch.reference is not None) == references
    for view in views:
        assert view.rgb.shape == (8, 16, 16, 3) and len(view.camera.c2w) == len(view.camera.fov_y) == 8
        inside = view.alpha[6:, ..., 0] == 1
        red = torch.tensor(RED) / 255
        assert (view.rgb[6:][inside] - red).abs().max() < 0.01  # no colour is changed
        assert view_words(view.camera)[6:] == ["front view"] * 2
    again = made.example(5, 0)
    assert again.prompts == batch.prompts and torch.equal(again.target.rgb, batch.target.rgb)
    assert made.example(6, 0).prompts != batch.prompts


def test_the_split_holds_on_both_sides(data):
    made = data(share=0.5)
    trained = {name for step in range(12) for name in made.example(step, 0).prompts}
    assert not any(map(held_out, trained))
    batches = made.validation_examples()
    assert [len(each.prompts) for each in batches] == [8, 4]
    assert [animals(each.prompts) for each in batches] == [4, 2]
    assert all(held_out(name) for each in batches for name in each.prompts)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_one_side_alone_is_refused(data, share):
    with pytest.raises(ValueError, match="share"):
        data(share=share)


def test_it_is_no_data_that_a_scene_is_made_from(data):
    assert not isinstance(data(), Pictures)  # a run would paint with, and draw, what the system saw
