"""Marigold as published, at reduced width: what its own pipeline says of a picture; and what it refuses."""

import json
import shutil

import layouts
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    MarigoldDepthPipeline,
    MarigoldNormalsPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTokenizer

from threestudio_like.losses.reference import depth_pearson
from threestudio_like.priors.marigold import Marigold
from threestudio_like.records import View

PARTS = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "scheduler": DDIMScheduler,
    "tokenizer": CLIPTokenizer,
    "text_encoder": CLIPTextModel,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return layouts.marigold_folder(tmp_path_factory.mktemp("marigold") / "depth")


def estimator(folder, **changes) -> Marigold:
    values = {"size": 16, "steps": 3, "seed": 4, "spread": 0.1, "precision": "float32"}
    return Marigold(weights=str(folder), **values | changes)


def pipelines(folder, view: View, seed: int = 4, kind: str = "depth") -> torch.Tensor:
    """What diffusers' own pipeline says, in [0, 1]; or unit normals."""
    parts = {name: kind.from_pretrained(folder / name) for name, kind in PARTS.items()}
    made = {"depth": MarigoldDepthPipeline, "normals": MarigoldNormalsPipeline}[kind]
    pipeline = made(**parts, prediction_type=kind)
    pipeline.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": 3, "processing_resolution": 16, "match_input_resolution": False}
    chance = torch.Generator().manual_seed(seed)
    picture = view.rgba[..., :3].permute(0, 3, 1, 2)
    return pipeline(picture, generator=chance, output_type="pt", **options).prediction


def test_it_says_what_the_pipeline_says(folder, disc):
    view = disc(16)
    theirs = pipelines(folder, view)
    one = estimator(folder)
    with torch.no_grad():
        ours = one.told(view.rgba[..., :3].permute(0, 3, 1, 2))
    assert theirs.std() > 0.01 and torch.equal(ours, theirs)
    assert not torch.equal(pipelines(folder, view, seed=5), theirs)
    assert torch.equal(estimator(folder)(view).depth, one(view).depth)  # nothing else is drawn


@pytest.fixture
def normals(folder, tmp_path):
    place = shutil.copytree(folder, tmp_path / "normals")
    (place / "model_index.json").write_text('{"prediction_type": "normals", "use_full_z_range": true}')
    return place


def test_normals_are_the_pipelines_and_turn_with_the_camera(normals, disc):
    view, one = disc(16), estimator(normals)
    theirs = pipelines(normals, view, kind="normals")
    with torch.no_grad():
        ours = one.told(view.rgba[..., :3].permute(0, 3, 1, 2))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    seen = one(view)
    back = torch.einsum("bji,bhwj->bhwi", view.camera.c2w[:, :3, :3], seen.normal).permute(0, 3, 1, 2)
    inside = (view.alpha > 0).permute(0, 3, 1, 2)
    torch.testing.assert_close(back, theirs * inside, rtol=0, atol=1e-5)
    assert seen.depth is None and view.camera.c2w[0, :3, :3].diagonal().min() < 0.9  # it is turned


@pytest.mark.parametrize(("kind", "sign"), [("depth", 1), ("disparity", -1)])
def test_depth_lies_around_the_cameras_distance(folder, tmp_path, kind, sign, disc):
    place = shutil.copytree(folder, tmp_path / kind)
    (place / "model_index.json").write_text(json.dumps({"prediction_type": kind}))
    view = disc(16)
    seen = estimator(place)(view)
    said = sign * pipelines(folder, view).permute(0, 2, 3, 1)
    assert depth_pearson(seen.depth, said, view.alpha).item() == pytest.approx(0, abs=1e-3)
    around = seen.depth[view.alpha > 0] - 1.6
    assert around.mean().item() == pytest.approx(0, abs=1e-4)
    assert around.abs().mean().item() == pytest.approx(0.1, abs=1e-4)
    assert (seen.depth[view.alpha == 0] == 0).all() and seen.normal is None and seen.rgb is view.rgb


def test_other_sizes_are_looked_at_in_its_own(folder, disc):
    one, asked, view = estimator(folder), [], disc(40)
    told = one.told
    one.told = lambda rgb: asked.append(rgb) or told(rgb)
    seen = one(view)
    assert seen.depth.shape == (1, 40, 40, 1) and not seen.depth.requires_grad
    assert not any(value.requires_grad for value in one.parameters())
    with torch.no_grad():
        torch.testing.assert_close(told(asked[0]), pipelines(folder, view), rtol=1e-3, atol=1e-3)


def test_the_first_published_do_not_say_that_it_is_depth(folder, tmp_path):
    place = shutil.copytree(folder, tmp_path / "first")
    (place / "model_index.json").write_text('{"_class_name": "MarigoldPipeline"}')
    assert estimator(place).kind == "depth"


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("model_index.json", '{"prediction_type": "albedo"}', r"predicts 'albedo'; expected depth, disp"),
        (
            "model_index.json",
            '{"prediction_type": "normals", "use_full_z_range": false}',
            "half a range of z",
        ),
        ("model_index.json", "[]", "predicts None; expected depth, disparity or normals$"),
        ("model_index.json", "{", "model_index.json cannot be read"),
        (
            "scheduler/scheduler_config.json",
            '{"_class_name": "LCMScheduler"}',
            "by LCMScheduler; expected",
        ),
        ("scheduler/scheduler_config.json", "[]", "scheduler_config.json is not whole"),
        ("scheduler/scheduler_config.json", None, "has no scheduler/scheduler_config.json$"),
        ("tokenizer", None, "has no tokenizer$"),
        ("vae/config.json", None, "has no vae/config.json$"),
    ],
)
def test_what_is_absent_or_another_kind_is_one_line(folder, tmp_path, file, text, words):
    place = shutil.copytree(folder, tmp_path / "other")
    if text is not None:
        (place / file).write_text(text)
    elif (place / file).is_dir():
        shutil.rmtree(place / file)
    else:
        (place / file).unlink()
    with pytest.raises(ValueError, match=rf"^weights: [^\n]*{words}[^\n]*"):
        estimator(place)


def test_sizes_and_steps_that_it_cannot_take(folder, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="^size: expected a multiple of 2"):
        estimator(folder, size=15)
    with pytest.raises(ValueError, match="^steps: at most 1000"):
        estimator(folder, steps=1001)
    place = shutil.copytree(folder, tmp_path / "plain")
    layouts.unet().save_pretrained(place / "unet")
    with pytest.raises(ValueError, match="has a U-Net of 4 channels, not 8: no Marigold$"):
        estimator(place)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ValueError, match="^weights: 'prs-eth/marigold-depth-v1-1' is not on this machine; "):
        Marigold.published("prs-eth/marigold-depth-v1-1")
