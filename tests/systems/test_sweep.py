"""A sweep on a tiny prior: where it looks, what it leaves, and that true views would score as such."""

import json
import logging
import math
from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from trainers import quiet

from systems.sweep import finite_mean, padded
from threestudio_like.ops.camera import spherical
from threestudio_like.priors.base import Condition
from threestudio_like.run.composition import resolved

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = {
    "system.prior.weights": "null",
    "system.prior.size": 16,
    "system.prior.lift": "null",
    "system.prior.denoiser.image_channels": 16,
    "system.prior.denoiser.widths": "[16,16]",
    "system.prior.denoiser.groups": 8,
    "system.prior.denoiser.head_channels": 8,
    "system.prior.pose.out_channels": 64,
    "system.evaluation.steps": 2,
    "system.ring.views": 6,
    "system.ring.batch": 4,
    "system.display.columns": 4,
    "data.size": 64,
    "data.resolution.value": 32,
}


@pytest.fixture
def made():
    """overrides -> (system, data) of the experiment, of a procedural shape."""

    def build(*overrides: str):
        settings = [f"stages.sweep.{name}={value}" for name, value in SMALL.items()]
        command = ["experiment=sample/zero123", "image=null", "object=shapes/torus", *settings, *overrides]
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            stage = resolved(hydra.compose("config", command))["stages"]["sweep"]
        GlobalHydra.instance().clear()
        torch.manual_seed(0)
        return (hydra.utils.instantiate(stage[part], _convert_="all") for part in ("system", "data"))

    return build


def run(system, data, folder: Path) -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    trainer = quiet(folder)
    trainer.fit(system, datamodule=data)


def test_it_leaves_a_sheet_a_video_and_numbers(made, tmp_path):
    system, data = made()
    run(system, data, tmp_path)
    assert (tmp_path / "images" / "sweep-000001.png").exists() and (tmp_path / "sweep.mp4").stat().st_size > 0
    report = json.loads((tmp_path / "sweep.json").read_text())
    assert report["azimuth"] == [0, 60, 120, 180, 240, 300] and report["mean"] == system.measure(data)
    assert all(len(report[name]) == 6 for name in report["mean"])
    assert report["mean"]["true_hull_iou"] > 0.8 > report["mean"]["sample_mask_iou"]


def test_a_picture_without_truth_is_only_compared_with_itself(made):
    system, data = made()
    batch = data.batch(0, 0)
    camera, samples = system.cameras(batch.reference.camera), torch.rand(6, 16, 16, 4)
    found = system.measures(samples, samples[:1], None, camera)
    assert set(found) == {"hull_iou", "neighbour_psnr"}


def test_true_views_are_perfect_samples(made):
    system, data = made()
    system._trainer = type("Run", (), {"datamodule": data})
    reference = data.batch(0, 0).reference
    camera = system.cameras(reference.camera)
    truth = system.truth(camera)
    found = system.measures(truth, system.seen(reference.rgba), truth, camera)
    assert finite_mean(found["sample_psnr"]) == math.inf and found["sample_mask_iou"].min() == 1
    assert found["copied_input_psnr"][0] > 40 > found["copied_input_psnr"][3]
    torch.testing.assert_close(found["hull_iou"], found["true_hull_iou"])


def test_cameras_begin_at_the_picture_and_take_the_asked_elevation(made):
    system, data = made("stages.sweep.system.ring.elevation=40")
    reference = data.batch(0, 0).reference.camera
    azimuth, elevation, distance = spherical(system.cameras(reference))
    own = spherical(reference)
    assert azimuth[0].item() == pytest.approx(own[0].item(), abs=1e-5)
    torch.testing.assert_close(elevation, torch.full((6,), math.radians(40)))
    torch.testing.assert_close(distance, own[2].expand(6))


def test_one_noise_for_all_views(made):
    for one, same in ((True, True), (False, False)):
        system, data = made(f"stages.sweep.system.ring.one_noise={str(one).lower()}")
        system.borrowed.prior.condition = lambda prompts, camera, reference: Condition()
        batch = data.batch(0, 0)
        system.evaluation = system.evaluation._replace(cfg=lambda prior, x_t, t, condition: 0 * x_t)
        samples = system.samples(batch, system.cameras(batch.reference.camera))
        assert bool((samples == samples[:1]).all()) is same


def test_odd_enlargement_is_refused(made):
    with pytest.raises(Exception, match="must be even"):
        made("stages.sweep.system.display.enlarged=3").__next__()


def test_short_rows_end_in_white():
    line = padded(torch.zeros(2, 4, 3), 3)
    assert line.shape == (2, 6, 3) and line[:, 4:].min() == 1 and line[:, :4].max() == 0
