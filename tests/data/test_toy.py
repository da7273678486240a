"""Points in the plane: where they lie, and that a step's are a function of the step."""

import itertools

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer

from threestudio_like.data.toy import MEANS, Toy, points


def test_where_they_lie():
    rng = np.random.default_rng(0)
    place = points("mixture", 20000, rng)
    first = place.sum(-1) > 0
    assert first.mean() == pytest.approx(0.8, abs=0.01)
    np.testing.assert_allclose(place[first].mean(0), MEANS[0], atol=0.01)
    assert place[~first].std(0) == pytest.approx([0.1, 0.1], abs=0.01)
    radius = np.linalg.norm(points("rings", 5000, rng), axis=-1)
    assert np.minimum(abs(radius - 0.4), abs(radius - 0.8)).max() < 0.15
    moons = points("moons", 20000, rng)
    np.testing.assert_allclose(moons.mean(0), 0, atol=0.02)
    for name in ("mixture", "moons", "rings"):
        assert abs(points(name, 5000, rng)).max() < 1


def test_pictures_and_the_stream():
    toy = Toy(name="rings", batch_size=6, validation=10, seed=0)
    toy.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    one, other = itertools.islice(toy.train_dataloader(), 2)
    again = next(iter(toy.train_dataloader()))
    assert torch.equal(one.target.rgb, again.target.rgb) and not torch.equal(one.target.rgb, other.target.rgb)
    assert (one.step, other.step) == (0, 1) and one.prompts == ["rings"] * 6
    assert one.target.rgba.shape == (6, 1, 1, 4) and (one.target.rgba[..., 2:] == 1).all()
    assert len(next(iter(toy.val_dataloader())).prompts) == 10
