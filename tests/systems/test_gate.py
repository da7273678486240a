"""The gate on tiny settings: an oracle that knows no pose, an untrained prior, a run that was stopped."""

import json
import logging
from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from pytorch_lightning import Callback, Trainer
from trainers import quiet

from threestudio_like.data.album import Cameras
from threestudio_like.data.draw import Light
from threestudio_like.data.shapes import Shapes
from threestudio_like.data.trials import Trials

CONFIGS = Path(__file__).parents[2] / "configs"
ORACLE = ("priors@system.prior=oracle", "system.prior.size=16", "system.evaluation.card.weights=none")
UNTRAINED = (
    "system.prior.weights=null",
    "system.prior.size=16",
    "system.prior.lift=null",
    "system.prior.denoiser.image_channels=16",
    "system.prior.denoiser.widths=[16,16]",
    "system.prior.denoiser.groups=8",
    "system.prior.denoiser.head_channels=8",
    "system.prior.pose.out_channels=64",
)
SMALL = {
    "evaluation.steps": 2,
    "distillation.steps": 3,
    "distillation.views": 1,
    "distillation.renderer.num_steps": 16,
    "distillation.renderer.resolution": 8,
    "distillation.scene.geometry.encoding.log2_table": 10,
    "distillation.scene.geometry.encoding.finest_resolution": 8,
    "distillation.scene.geometry.encoding.base_resolution": 4,
    "ruler.directions": 8,
    "ruler.resolution": 12,
    "ruler.lattice": 16,
}


def gate(*overrides: str):
    """As its YAML wires it, but for sizes."""
    small = [f"system.{name}={value}" for name, value in SMALL.items()]
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose(overrides=["+seed=0", "+systems@system=gate", *small, *overrides])
        torch.manual_seed(0)
        node = hydra.utils.instantiate(config.system, _convert_="all")
    GlobalHydra.instance().clear()
    return node


def trials(**changes) -> Trials:
    """Two tasks of pairs, and two subjects once."""
    cameras = Cameras(fov_y=49.134, distance=[1.4, 1.9], elevation=[-10.0, 60.0], size=16)
    light = Light(direction=[0.6, 0.0, 0.8], ambient=0.4, diffuse=0.6)
    settings = {"buckets": [0, 30, 180], "objects": 4, "batch": 2, "rings": 2, "subjects": 2, "repeats": 1}
    settings |= {"twin": 40.0}
    settings |= {"solid": lambda mesh: True, "novel": 3, "seed": 0, **changes}
    return Trials(source=Shapes(count=40, seed=3), cameras=cameras, light=light, **settings)


class Stop(Callback):
    """As Ctrl-C does: after this step, with a checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "last.ckpt")
            trainer.should_stop = True


def run(system, folder: Path, stop: int = 0, checkpoint: Path | None = None) -> Trainer:
    """All tasks, or up to one of them."""
    data = trials()
    trainer = quiet(folder, len(data), callbacks=[Stop(stop)])
    trainer.fit(system, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return trainer


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """All tasks answered by a prior that is told nothing."""
    folder = tmp_path_factory.mktemp("oracle")
    system = gate(*ORACLE)
    return system, run(system, folder), folder


def test_every_task_is_one_step(oracle):
    system, trainer, _ = oracle
    assert trainer.global_step == 4
    assert len(system.pairs) == 4 * 2 and len(system.scenes) == 2


def test_arms_differ_in_what_the_prior_is_told_and_in_nothing_else(oracle):
    """The oracle ignores what it is told: arms that ask it end alike, and unlike the one that does not."""
    for scene in oracle[0].scenes:
        assert scene.scores["true_poses"] == scene.scores["wrong_poses"] == scene.scores["other_picture"]
        assert scene.scores["true_poses"]["psnr"] != scene.scores["reference_only"]["psnr"]


def test_samples_share_their_noise(oracle):
    for pair in oracle[0].pairs:
        assert pair.scores["sample"] == pair.scores["wrong_pose"]
        assert set(pair.scores) > {"copied_input", "mean_picture", "nearest_training"}
    assert oracle[1].callback_metrics["c/decibels"] == 0


def test_what_it_leaves(oracle):
    system, trainer, folder = oracle
    report = json.loads((folder / "gate.json").read_text())
    assert report["passed"] is False and report["weights"] == "none"
    assert report["b"]["objects"] == 2 and report["b"]["margins"]["wrong_poses"]["iou"]["mean"] == 0
    assert report["a"]["buckets"]["30-180"]["means"]["sample"]["psnr"]["objects"] == 4
    assert {path.name.split("-")[0] for path in (folder / "images").iterdir()} == {
        "samples",
        "distilled",
        "sheet",
    }
    assert "b/margins/wrong_poses/iou/error" in trainer.callback_metrics


def test_a_scene_moves_towards_its_picture():
    """With no guidance at all the picture's own view is matched: the losses reach the scene."""
    system = gate(*ORACLE, "system.distillation.steps=30")
    subject = trials().subject(0, 0)
    camera = subject.reference.camera

    def error(steps: int) -> float:
        system.distillation = system.distillation._replace(steps=steps)
        scene, renderer = system.distilled(subject, "reference_only", 0)
        with torch.no_grad():
            seen = renderer.eval()(scene, camera, steps)
        return float((seen.rgb - subject.reference.rgba[..., :3]).square().mean())

    assert error(30) < 0.5 * error(1)


def test_an_untrained_prior_fails_and_a_stopped_run_goes_on_to_the_same_verdict(tmp_path, caplog):
    whole = gate(*UNTRAINED)
    with caplog.at_level(logging.INFO):
        run(whole, tmp_path / "whole")
    assert "the gate: failed" in caplog.text and "(c) failed" in caplog.text
    folder = tmp_path / "half"
    run(gate(*UNTRAINED), folder, 3)
    assert not (folder / "gate.json").exists()
    assert not torch.load(folder / "last.ckpt")["state_dict"]  # a prior's weights are its own file's
    resumed = gate(*UNTRAINED)
    run(resumed, folder, checkpoint=folder / "last.ckpt")
    assert resumed.pairs == whole.pairs and resumed.scenes == whole.scenes
    one, other = ((tmp_path / name / "gate.json").read_text() for name in ("whole", "half"))
    assert one == other
    assert len(resumed.rows) == 2


def test_a_scene_that_vanished_fills_nothing(caplog):
    system = gate(*ORACLE, "system.distillation.scene.geometry.bias={scale: -20.0, radius: 100.0}")
    assert not system.filled(system.distillation.scene).any()
    assert "nothing is left" in caplog.text


def test_a_loss_without_weight_is_named():
    with pytest.raises(hydra.errors.InstantiationException, match="weights.opaqe: no such loss"):
        gate(*ORACLE, "+system.distillation.weights.opaqe=1.0")
