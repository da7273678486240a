"""DreamCraft3D from the command line: three stages of seconds, bundled priors, unbroken and killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
import trimesh

ROOT = Path(__file__).parents[1]
STEPS = {"coarse": 6, "fine": 6, "texture": 8}
SIZES = {
    "coarse.data.resolution.value": 16,
    "coarse.data.cameras.resolution.value": 16,
    "fine.data.resolution.value": 24,
    "fine.data.cameras.resolution.value": 24,
    "fine.system.scene.geometry.resolution": 16,
    "texture.data.resolution.value": 24,
    "texture.data.cameras.resolution.value": 24,
    "texture.system.scene.geometry.resolution": 16,
    "texture.system.refresh_every": 2,
    "texture.system.guidance.texture.augment.count": 2,
}
CYCLE = {"rgb": (3, 6), "texture": (3, 6), "lora": (3, 6), "dreambooth": (0, 3)}  # of 6 steps each


def command(outputs: Path) -> list[str]:
    """The demo picture, tiny."""
    words = [
        f"outputs={outputs}",
        "name=tiny",
        "export.frames=4",
        "export.side=64",
        "export.texture.size=128",
    ]
    words += [f"stages.{key}={value}" for key, value in SIZES.items()]
    words += ["stages.fine.trainer.precision=bf16-mixed"]  # one in half precision, as GPUs are asked for
    for stage, steps in STEPS.items():
        words += [f"stages.{stage}.trainer.max_steps={steps}", f"stages.{stage}.system.draw_every=5"]
        words += [f"stages.{stage}.trainer.callbacks.checkpoints.every=2"]
    for name, (begin, until) in CYCLE.items():
        key = f"stages.texture.system.weights.{name}"
        words += [f"{key}.period=6", f"{key}.begin={begin}", f"{key}.until={until}"]
    return [sys.executable, str(ROOT / "launch.py"), *words]


def environment() -> dict[str, str]:
    """One thread: the machine may be busy with other tests."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed, started from another working directory."""
    outputs = tmp_path_factory.mktemp("unbroken")
    subprocess.run(command(outputs), check=True, env=environment(), cwd=outputs, timeout=600)
    return outputs / "dreamcraft3d" / "small" / "tiny"


def test_every_file_a_user_expects_is_there(unbroken: Path) -> None:
    for name in ("config.yaml", "run.json", "metrics.json", "report.html", "log.txt"):
        assert (unbroken / name).stat().st_size > 0
    for name in ("model.glb", "turntable.mp4", "preview.png"):
        assert (unbroken / "export" / name).stat().st_size > 0
    for stage in STEPS:
        assert list((unbroken / stage / "images").glob("*.png"))


def test_the_model_is_a_textured_mesh_standing_upright(unbroken: Path) -> None:
    mesh = trimesh.load(unbroken / "export" / "model.glb", force="mesh", process=False)
    assert len(mesh.faces) > 100 and mesh.visual.uv is not None
    assert mesh.visual.material.baseColorTexture.size == (128, 128)
    low, high = mesh.bounds
    assert ((high - low) > 0.2).all() and (high < 0.76).all() and (low > -0.76).all()


def test_metrics_of_a_picture_are_its_own_view(unbroken: Path) -> None:
    metrics = json.loads((unbroken / "metrics.json").read_text())
    assert 0 <= metrics["mask_iou"] <= 1 and metrics["front_psnr"] > 5
    assert [metrics["stages"][name]["steps"] for name in STEPS] == list(STEPS.values())


def killed_when(appears: Path, process: subprocess.Popen) -> None:
    """kill -9 as soon as a file is there."""
    deadline = time.monotonic() + 600
    while not appears.exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("stage", [pytest.param("fine", marks=pytest.mark.slow), "texture"])
def test_killed_and_resumed_it_ends_with_the_same_scene(unbroken: Path, tmp_path: Path, stage: str) -> None:
    folder = tmp_path / "dreamcraft3d" / "small" / "tiny"
    process = subprocess.Popen(command(tmp_path), env=environment(), stdout=subprocess.DEVNULL)
    killed_when(folder / stage / "checkpoints" / "last.ckpt", process)
    assert not (folder / "export" / "model.glb").exists()
    resume = [sys.executable, str(ROOT / "launch.py"), f"resume={folder}"]
    subprocess.run(resume, check=True, env=environment(), timeout=600)
    for name in STEPS:
        ours, theirs = (
            safetensors.torch.load_file(run / name / "scene.safetensors") for run in (folder, unbroken)
        )
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
    assert json.loads((folder / "run.json").read_text())["state"] == "finished"


def published(folder: Path) -> list[str]:
    """The paper's experiment with random networks in the published layouts, narrow, on a CPU."""
    import layouts

    files = {
        "image": layouts.deepfloyd_folder(folder / "if"),
        "view": layouts.zero123_file(folder / "stable_zero123.ckpt"),
        "texture": layouts.stable_diffusion_folder(folder / "sd"),
    }
    words = ["experiment=dreamcraft3d/paper", "stages.coarse.system.renderer.lattice=24"]
    for stage, slots in (
        ("coarse", ("image", "view")),
        ("fine", ("image", "view")),
        ("texture", ("texture",)),
    ):
        words.append(f"trainer@stages.{stage}.trainer=cpu")
        for slot in slots:
            key = f"stages.{stage}.system.guidance.{slot}.prior"
            words += [f"{key}.weights={files[slot]}", f"{key}.precision=float32"]
            words += [] if slot == "image" else [f"{key}.size=16"]
    return words


@pytest.mark.slow
def test_the_papers_experiment_runs_on_published_layouts(tmp_path: Path) -> None:
    words = [*command(tmp_path / "outputs"), *published(tmp_path)]
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(words, env=environment() | cache, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "outputs/dreamcraft3d/paper/tiny"
    assert json.loads((folder / "run.json").read_text())["state"] == "finished"
    assert (folder / "export/model.glb").is_file()
    kept = list((tmp_path / "cache/threestudio_like/prompts").iterdir())
    assert len(kept) == 2 * 5  # four views and nothing, by T5 and by CLIP


@pytest.mark.slow
def test_its_profile_tells_of_every_stage(tmp_path: Path) -> None:
    words = [*command(tmp_path / "outputs"), *published(tmp_path), "experiment=dreamcraft3d/paper_profile"]
    words = [word for word in words if not word.startswith(("trainer@", "export.")) and word[-6:] != "/paper"]
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(words, env=environment() | cache, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for stage in STEPS:
        file = tmp_path / "outputs/dreamcraft3d/paper_profile/tiny" / stage / "profile.json"
        assert {"render", "encode", "denoise", "backward", "whole"} <= set(json.loads(file.read_text()))
