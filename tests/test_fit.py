"""Fitting from the command line: four geometries in one run of seconds, and the table of it."""

import json
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from safetensors.torch import load_file

import launch
from threestudio_like.run import table

# imageio leaves the pipes of ffmpeg, which the turntable is read by, to the collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
STAGES = ("nerf", "neus", "dmtet", "texture")
ENCODING = {"num_levels": 4, "log2_table": 12, "base_resolution": 4, "finest_resolution": 32}
SIZES = {
    "nerf.system.renderer.num_steps": 48,
    "nerf.system.renderer.resolution": 16,
    "nerf.system.scene.geometry.bias.scale": 20.0,  # a ball of fog, as there is no time to find one
    "nerf.system.scene.geometry.bias.radius": 0.5,
    "neus.system.renderer.lattice": 16,
    "nerf.data.window": 8,
    "neus.data.window": 8,
    "dmtet.system.scene.geometry.resolution": 32,
    "texture.system.scene.geometry.resolution": 32,
}


def overrides(outputs: Path) -> list[str]:
    """A sphere in few pixels, two steps a stage."""
    words = ["experiment=fit/staged", "object=shapes/sphere", f"outputs={outputs}", "name=tiny"]
    words += ["export.frames=2", "export.side=32", "export.resolution=24", "export.texture.size=64"]
    words += [
        "score.views=2",
        "score.side=32",
        "score.directions=16",
        "score.resolution=24",
        "score.points=500",
    ]
    for stage in STAGES:
        words += [f"stages.{stage}.trainer.max_steps=2", f"stages.{stage}.system.draw_every=2"]
        words += [f"stages.{stage}.data.{key}=4" for key in ("cameras.train", "cameras.test", "batch_size")]
        words += [f"stages.{stage}.data.size=24"]
        words += [f"stages.{stage}.system.scene.geometry.encoding.{k}={v}" for k, v in ENCODING.items()]
    return words + [f"stages.{key}={value}" for key, value in SIZES.items()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a finished run."""
    outputs = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("THREESTUDIO_LIKE_RUN", raising=False)
        patch.setattr(sys, "argv", ["launch.py", *overrides(outputs)])
        try:
            launch.main()
        finally:
            GlobalHydra.instance().clear()
    return outputs / "fit" / "staged" / "tiny"


def test_each_stage_keeps_the_volume_of_the_one_before(folder: Path) -> None:
    kept = {s: json.loads((folder / s / "metrics.json").read_text()).get("handover_iou") for s in STAGES}
    assert kept.pop("nerf") is None
    assert all(value > 0.97 for value in kept.values()), kept


def test_the_run_s_metrics_are_the_unseen_pictures_and_the_mesh(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    last = json.loads((folder / "texture" / "metrics.json").read_text())
    assert metrics["psnr"] == last["psnr"] > 5 and metrics["ssim"] == last["ssim"]
    assert metrics["volume_iou"] > 0.3 and 0 < metrics["chamfer"] < 0.2


def test_the_table_has_a_column_for_each(folder: Path) -> None:
    lines = table.text(table.rows(folder)).splitlines()
    names = [name.strip() for name in lines[0].strip("|").split("|")]
    wanted = ("psnr", "ssim", "volume_iou", "chamfer", "normal_error_deg", "seconds")
    assert [name for name in names if name in wanted] == list(wanted)
    assert lines[2].count("| ") == len(names)


def test_every_file_a_user_expects_is_there(folder: Path) -> None:
    for name in ("metrics.json", "report.html", "export/model.glb", "nerf/scene.safetensors"):
        assert (folder / name).stat().st_size > 0
    for stage in STAGES:
        assert list((folder / stage / "images").glob("unseen-*.png"))


GROWING = {
    "gaussians": ["system.scene.geometry.count=50", "system.strategy.begin=1", "system.strategy.every=2"]
    + ["system.strategy.gradient=0.0"],
    "dmtet": ["system.scene.geometry.resolution=16", "system.strategy.at=[2]", "data.batch_size=2"],
}


@pytest.mark.parametrize("name", GROWING)
def test_what_grew_while_it_was_fitted_is_exported(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More Gaussians, or a lattice that was cut, than the YAML of the scene would make."""
    monkeypatch.delenv("THREESTUDIO_LIKE_RUN", raising=False)
    common = [word for word in overrides(tmp_path) if not word.startswith("stages.")]
    small = ["data.cameras.train=4", "data.cameras.test=2", "data.size=24", "trainer.max_steps=4"]
    words = [f"stages.{name}.{word}" for word in [*small, *GROWING[name]]]
    strategy = ["+geometry@stages.dmtet.system.strategy=subdivide"] if name == "dmtet" else []
    monkeypatch.setattr(sys, "argv", ["launch.py", *common, f"experiment=fit/{name}", *strategy, *words])
    try:
        launch.main()
    finally:
        GlobalHydra.instance().clear()
    folder = tmp_path / "fit" / name / "tiny"
    assert json.loads((folder / "metrics.json").read_text())["volume_iou"] >= 0
    saved = load_file(folder / name / "scene.safetensors")
    assert len(saved["geometry.means"]) > 50 if name == "gaussians" else "geometry.tets" in saved
    assert (folder / "export" / "model.glb").exists()
