"""Reconstruction by the view prior alone: what is due when, its regularisers, either guidance."""

from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from systems.reconstruction import NEAR, aside
from threestudio_like.guidance.sds import SDS
from threestudio_like.guidance.sjc import SJC

CONFIGS = Path(__file__).parents[2] / "configs"
KEY = "stages.reconstruction.system"
SMALL = (
    "guidance.view.prior.weights=null",
    "renderer.num_steps=24",
    "renderer.resolution=8",
    "scene.geometry.encoding.num_levels=2",
    "scene.geometry.encoding.log2_table=12",
    "scene.geometry.encoding.base_resolution=8",
    "scene.geometry.encoding.finest_resolution=16",
)


@pytest.fixture
def made():
    """overrides -> the system of the experiment, with an untrained prior and coarse grids."""

    def build(*overrides: str):
        settings = [f"{KEY}.{setting}" for setting in SMALL]
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = hydra.compose("config", ["experiment=zero123", "image=none.png", *settings, *overrides])
            torch.manual_seed(0)
            node = hydra.utils.instantiate(config.stages.reconstruction.system, _convert_="all")
        GlobalHydra.instance().clear()
        return node.train()

    return build


def test_the_picture_and_the_prior_are_asked_at_every_step(made, ball):
    losses = made().compute(ball(0))
    assert set(losses) == {"rgb", "mask", "view", "near", "smooth", "opaque"}
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())


@pytest.mark.parametrize(("guidance", "kind"), [("sds", SDS), ("sjc", SJC)])
def test_one_option_swaps_the_guidance_which_moves_the_field(guidance, kind, made, ball):
    system = made(f"guidance@{KEY}.guidance.view={guidance}")
    assert type(system.guidance["view"]) is kind and system.guidance["view"].cfg.scale == 3.0
    system.compute(ball(0))["view"].backward()
    moved = system.scene.geometry.encoding.table.grad
    assert torch.isfinite(moved).all() and moved.abs().max() > 0
    assert not any(name.startswith("guidance") for name in system.state_dict())
    system.configure_optimizers()  # would refuse parameters that no learning rate fits


def test_the_camera_beside_is_near_and_looks_at_the_origin(ball):
    torch.manual_seed(0)
    camera = ball(0).camera
    found = aside(camera, NEAR)
    assert (found.c2w - camera.c2w)[:, :3, 3].norm().item() == pytest.approx(NEAR, rel=1e-3)
    toward = torch.nn.functional.normalize(found.c2w[:, :3, 3], dim=-1)
    torch.testing.assert_close(found.c2w[:, :3, 2], toward)
    assert (found.height, found.width) == (camera.height, camera.width)


def test_emptiness_needs_to_know_the_samples(made, ball):
    with pytest.raises(ValueError, match="renderer.normals"):
        made(f"{KEY}.weights.emptiness=1.0").compute(ball(0))
    asked = made(f"{KEY}.weights.emptiness=1.0", f"{KEY}.renderer.normals=true")
    assert asked.compute(ball(0))["emptiness"].item() > 0


def test_without_the_prior_it_meets_the_picture(made, ball, fitted):
    system = made(f"{KEY}.weights.view=0", f"{KEY}.weights.near=0")
    assert set(system.compute(ball(0))) == {"rgb", "mask", "smooth", "opaque"}
    seen = fitted(system, lambda step: ball(step, side=16), 40)
    assert seen[-1]["rgb"] < 0.2 * seen[0]["rgb"] and seen[-1]["mask"] < 0.2 * seen[0]["mask"]
