"""Fitting, as its stages are wired, on a ball of few pixels; what each loss needs; what a stage says."""

from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from pytorch_lightning import Trainer

from threestudio_like.metrics.shape import overlap
from threestudio_like.records import Posed

CONFIGS = Path(__file__).parents[2] / "configs"
ENCODING = {"num_levels": 4, "log2_table": 12, "base_resolution": 4, "finest_resolution": 32}
CAMERAS = {"train": 12, "test": 2, "distance": 2.0, "fov_y": 40.0}


@pytest.fixture
def stage():
    """(name, overrides) -> the system and the data of a fitting stage, small."""

    def build(name: str, *overrides: str):
        small = [f"system.scene.geometry.encoding.{key}={value}" for key, value in ENCODING.items()]
        small = [] if name == "gaussians" else small
        small += [f"data.cameras.{key}={value}" for key, value in CAMERAS.items()]
        inside = [f"part.{override}" for override in (*small, "data.size=24", *overrides)]
        root = [f"+stage@part=fit/{name}", "+object=shapes/sphere", "+dataset=null", "+seed=0"]
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = hydra.compose(overrides=[*root, *inside])
        GlobalHydra.instance().clear()
        tree = OmegaConf.to_container(config.part, resolve=True)
        torch.manual_seed(0)
        system, data = (hydra.utils.instantiate(tree[key], _convert_="all") for key in ("system", "data"))
        return system, data

    return build


SMALL = {
    "nerf": [
        "data.window=12",
        "data.batch_size=4",
        "system.renderer.num_steps=32",
        "system.renderer.resolution=16",
        "system.scene.geometry.encoding.finest_resolution=16",
    ],
    "neus": ["data.window=8", "system.renderer.lattice=16", "system.renderer.num_coarse=24"],
    "dmtet": ["system.scene.geometry.resolution=16", "data.batch_size=4"],
    "gaussians": ["system.scene.geometry.count=100", "system.strategy.limit=300"],
}


def whole(system, data) -> dict[str, float]:
    """What it says of unseen pictures."""

    class Finished:
        max_steps = 1000

    system._trainer = Finished()
    return system.measure(data)


@pytest.mark.parametrize(("name", "steps"), [("nerf", 90), ("neus", 90), ("dmtet", 60)])
def test_a_ball_is_learnt(stage, fitted, name, steps):
    start = [] if name == "nerf" else ["system.scene.geometry.sphere_radius=0.4"]
    system, data = stage(name, *SMALL[name], f"system.pace.until={steps}", *start)
    before = whole(system, data)
    fitted(system, lambda step: data.batch(step, 0), steps)
    after = whole(system, data)
    assert set(after) == {"psnr", "ssim", "silhouette_iou"}
    assert after["psnr"] > before["psnr"] + 4 and after["psnr"] > 17
    assert after["silhouette_iou"] > 0.8 > before["silhouette_iou"]


def test_only_due_losses_are_computed(stage):
    system, data = stage("dmtet", *SMALL["dmtet"])
    expected = {name for name in system.losses if system.due(name, 0)}
    assert set(system.compute(data.batch(0, 0))) == expected < set(system.losses)


def test_depth_and_normals_are_compared_where_pictures_have_them(stage):
    system, data = stage("dmtet", *SMALL["dmtet"], "system.weights.depth=1", "system.weights.normal=1")
    batch = data.batch(0, 0)
    losses = system.compute(batch)
    assert 0 < losses["depth"] < 0.2 and 0 < losses["normal"] < 0.2  # a ball of another size
    bare = batch._replace(view=batch.view._replace(depth=None))
    with pytest.raises(ValueError, match="weights.depth: "):
        system.compute(bare)


@pytest.mark.parametrize(
    ("name", "loss"),
    [("dmtet", "eikonal"), ("neus", "normal_consistency"), ("neus", "sign_change"), ("nerf", "orient")],
)
def test_a_loss_that_its_stage_cannot_have_is_named(stage, name, loss):
    system, data = stage(name, *SMALL[name], f"system.weights.{loss}=1.0", "data.batch_size=2")
    with pytest.raises(ValueError, match=f"weights.{loss}: "):
        system.compute(data.batch(0, 0))


def test_taking_over_says_how_much_it_kept(stage):
    source, data = stage("neus", *SMALL["neus"], "system.scene.geometry.sphere_radius=0.3")
    target, _ = stage("dmtet", "system.scene.geometry.resolution=32")
    target.begin_from(source.scene)
    assert target.kept > 0.97
    assert whole(target, data)["handover_iou"] == target.kept


def test_pictures_are_unseen_ones_beside_what_is_shown(stage):
    system, data = stage("dmtet", *SMALL["dmtet"])
    batch: Posed = data.batch(0, 0)
    with torch.no_grad():
        sheet = system.pictures(batch)["unseen"]
    assert sheet.shape == (72, 48, 3)
    torch.testing.assert_close(sheet[:24, :24], batch.unseen.rgba[0, ..., :3])


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("name", ["nerf", "gaussians"])
def test_a_resumed_fit_ends_in_the_same_bits(stage, tmp_path, name):
    """The occupancy grid goes on from where it was, and so does the control of the Gaussians' number."""
    tiny = (
        SMALL[name]
        + {
            "nerf": ["system.renderer.refresh_every=2", "system.renderer.warmup=3"],
            "gaussians": [
                "system.scene.geometry.count=50",
                "system.strategy.begin=1",
                "system.strategy.every=3",
            ],
        }[name]
    )

    def run(last, **settings):
        system, data = stage(name, *tiny, "system.draw_every=1000")
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = Trainer(
            max_steps=last, default_root_dir=tmp_path, enable_checkpointing=False, accelerator="cpu", **quiet
        )
        trainer.fit(system, datamodule=data, weights_only=True, **settings)
        return system, trainer

    whole, _ = run(8)
    _, stopped = run(5)
    stopped.save_checkpoint(tmp_path / "stopped.ckpt")
    resumed, _ = run(8, ckpt_path=str(tmp_path / "stopped.ckpt"))
    expected, found = whole.state_dict(), resumed.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_strategy_is_told_the_number_of_the_step_that_was_made(stage, tmp_path, monkeypatch):
    system, data = stage("gaussians", *SMALL["gaussians"], "system.draw_every=1000")
    told, made = [], []
    monkeypatch.setattr(
        system.strategy, "after_step", lambda scene, render, optimizer, step: told.append(step)
    )
    monkeypatch.setattr(system, "on_train_batch_start", lambda batch, batch_idx: made.append(batch.step))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        max_steps=3, default_root_dir=tmp_path, enable_checkpointing=False, accelerator="cpu", **quiet
    )
    trainer.fit(system, datamodule=data)
    assert told == made == [0, 1, 2]


def test_tetrahedra_begin_as_the_visual_hull(stage):
    system, data = stage("dmtet", "system.scene.geometry.resolution=24", "data.cameras.train=24")
    before = whole(system, data)["silhouette_iou"]
    system.begin_with_hull(data.views[0])
    assert whole(system, data)["silhouette_iou"] > 0.85 > before
    radius = system.scene.geometry.cleaned().vertices.norm(dim=-1)
    assert (radius - 0.5).abs().mean() < 0.03
    other, _ = stage("nerf", *SMALL["nerf"])
    with pytest.raises(ValueError, match="hull: "):
        other.begin_with_hull(data.views[0])


def test_a_field_of_distances_begins_as_the_visual_hull(stage):
    system, data = stage("neus", *SMALL["neus"], "data.cameras.train=24", "data.object=shapes/box")
    system.begin_with_hull(data.views[0])
    geometry = system.scene.geometry
    assert overlap(geometry.surface(48), data.truth, 32, 48) > 0.85
    points = 0.6 * torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) - 0.3
    slope = geometry.gradient(points).norm(dim=-1)
    assert (slope - 1).abs().median() < 0.2
