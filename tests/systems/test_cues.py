"""Training of depth and normals: perfect answers cost nothing, and a network learns one batch."""

from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from systems.cues import seen_from
from threestudio_like.data.album import Cameras, camera, poses
from threestudio_like.data.draw import Light, draw
from threestudio_like.data.shapes import mesh, shape
from threestudio_like.priors.cues import Guess
from threestudio_like.records import Example

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def system():
    small = ["size=16", "widths=[16,16,16]", "tail=4", "groups=4"]
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        settings = [f"system.prior.{setting}" for setting in small]
        config = hydra.compose(overrides=["+seed=0", "+systems@system=cues", *settings])
        torch.manual_seed(0)
        node = hydra.utils.instantiate(config.system, _convert_="all")
    GlobalHydra.instance().clear()
    return node


@pytest.fixture(scope="module")
def batch() -> Example:
    seen = camera(
        poses(np.random.default_rng(0), 8, cameras := Cameras(49.0, [1.5, 1.6], [0, 50], 16)), cameras
    )
    view = draw(mesh(shape(0, 1)), seen, Light([0.6, 0.0, 0.8], 0.4, 0.6))
    return Example(1, ["a shape"] * 8, view, None)


def test_the_truth_has_no_loss_and_its_opposite_has_much(system, batch, monkeypatch):
    view = batch.target
    monkeypatch.setattr(system.prior, "guess", lambda image: Guess(2 * view.depth, seen_from(view)))
    losses = system.compute(batch)
    assert set(losses) == {"depth", "normal"}
    assert losses["depth"] < 1e-5 and losses["normal"] < 1e-5
    monkeypatch.setattr(system.prior, "guess", lambda image: Guess(-view.depth, -seen_from(view)))
    losses = system.compute(batch)
    assert losses["depth"].item() == pytest.approx(2, abs=1e-3)
    assert losses["normal"].item() == pytest.approx(2, abs=1e-3)


def test_one_batch_is_learnt_and_the_scores_see_it(system, batch, fitted):
    before = system.score(batch)
    fitted(system, lambda step: batch._replace(step=step), 60)
    system.averaged.load_state_dict(system.prior.state_dict())
    after = system.score(batch)
    assert after["normal_median_deg"] < 0.7 * before["normal_median_deg"]
    assert after["depth_rmse"] < 0.8 * after["depth_rmse/flat"]
    assert after["normal_median_deg/flat"] == before["normal_median_deg/flat"]


def test_the_sheet_has_a_row_of_each(system, batch):
    with torch.no_grad():
        sheet = system.pictures(batch)["cues"]
    assert sheet.shape == (5 * 16, 8 * 16, 3) and sheet.min() >= 0 and sheet.max() <= 1
