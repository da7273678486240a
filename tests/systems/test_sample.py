"""Pictures of words: one for each place in the batch, the same again, as `image=` takes them."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trainers import quiet

from systems.denoise import Evaluation
from systems.sample import Sample
from threestudio_like.data.cameras import Pose
from threestudio_like.data.wish import Wishes
from threestudio_like.guidance.cfg import CFG
from threestudio_like.priors.oracle import Oracle
from threestudio_like.schedule.samplers import ddim
from threestudio_like.schedule.vp import VP, cosine


def sampled(folder: Path, seed: int = 0) -> list[np.ndarray]:
    prior = Oracle(schedule=VP(betas=cosine(100, 0.008)), size=16, mean=0.25, null_mean=0.9, std=0.05)
    cfg, sampler = CFG(form="standard", scale=1.0), partial(ddim, eta=0.0, clip=None)
    evaluation = Evaluation(steps=20, sampler=sampler, cfg=cfg, card={})
    trainer = quiet(folder)
    system = Sample(prior=prior, evaluation=evaluation, side=32, enlarged=2, seed=seed)
    pose = Pose(azimuth=0.0, elevation=15.0, distance=1.6, fov_y=49.134)
    trainer.fit(system, datamodule=Wishes(prompt="a red chair", pose=pose, count=3))
    return [np.asarray(Image.open(folder / f"picture-{number}.png")) for number in (1, 2, 3)]


def test_each_picture_has_alpha_and_what_was_asked_for(tmp_path: Path) -> None:
    pictures = sampled(tmp_path)
    assert all(picture.shape == (32, 32, 4) for picture in pictures)
    assert np.mean(pictures) / 255 == pytest.approx(0.25, abs=0.01)  # and not .9, which is nobody's words
    assert not np.array_equal(pictures[0], pictures[1])
    with Image.open(tmp_path / "images/pictures-000001.png") as sheet:
        assert sheet.size == (3 * 16 * 2, 16 * 2)


def test_a_seed_is_a_set_of_pictures(tmp_path: Path) -> None:
    first, again, other = (sampled(tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_no_words_no_picture() -> None:
    pose = Pose(azimuth=0.0, elevation=15.0, distance=1.6, fov_y=49.134)
    with pytest.raises(ValueError, match='^prompt: says what to draw, and is empty; write prompt="a red'):
        Wishes(prompt=" ", pose=pose, count=3).prepare()
