"""Depth Anything as published, at reduced width: its network's answer, near and far; and what it refuses."""

import json

import layouts
import pytest
import torch
from transformers import DepthAnythingForDepthEstimation

from threestudio_like.losses.reference import depth_pearson
from threestudio_like.priors.depth_anything import MEAN, STD, DepthAnything


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return layouts.depth_anything_folder(tmp_path_factory.mktemp("depth") / "relative")


def estimator(folder, **changes) -> DepthAnything:
    values = {"size": 56, "spread": 0.1, "precision": "float32"}
    return DepthAnything(weights=str(folder), **values | changes)


def test_depth_is_what_the_network_says_near_where_disparity_is_great(folder, tmp_path, disc):
    """Of a picture over white, in ImageNet's colours; the metric kind says depth itself."""
    view = disc(56)
    pixels = (view.rgba[..., :3] - torch.tensor(MEAN)) / torch.tensor(STD)
    metric = layouts.depth_anything_folder(tmp_path / "metric", "metric")
    for place, sign in ((folder, -1), (metric, 1)):
        network = DepthAnythingForDepthEstimation.from_pretrained(place).eval()
        with torch.no_grad():
            said = network(pixel_values=pixels.permute(0, 3, 1, 2)).predicted_depth[..., None]
        assert said.std() > 0
        seen = estimator(place)(view)
        assert depth_pearson(seen.depth, sign * said, view.alpha).item() == pytest.approx(0, abs=1e-3)
        around = seen.depth[view.alpha > 0] - 1.6
        assert around.mean().item() == pytest.approx(0, abs=1e-4)
        assert around.abs().mean().item() == pytest.approx(0.1, abs=1e-4)
        assert (seen.depth[view.alpha == 0] == 0).all() and seen.normal is None and seen.rgb is view.rgb


def test_other_sizes_are_looked_at_in_its_own(folder, disc):
    one, asked = estimator(folder), []
    one.network.register_forward_pre_hook(
        lambda module, args, kwargs: asked.append(kwargs["pixel_values"].shape), with_kwargs=True
    )
    for side in (40, 64):
        assert one(disc(side)).depth.shape == (1, side, side, 1)
    assert asked == [(1, 3, 56, 56)] * 2 and not one(disc(40)).depth.requires_grad
    assert not any(value.requires_grad for value in one.parameters())
    with pytest.raises(ValueError, match="^size: expected a multiple of 14"):
        estimator(folder, size=50)


def test_what_is_absent_or_another_kind_is_one_line(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    name = "depth-anything/Depth-Anything-V2-Small-hf"
    for find in (DepthAnything.published, estimator):
        with pytest.raises(ValueError) as caught:
            find(name)
        get = f"download it with `hf download {name}` or set weights=FOLDER"
        assert str(caught.value) == f"weights: {name!r} is not on this machine; {get}"
    with pytest.raises(ValueError, match=r"^weights: .*/empty has no config.json$"):
        (tmp_path / "empty").mkdir()
        estimator(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"^weights: .* is one file; expected a folder with config.json$"):
        estimator(folder / "config.json")
    told = json.loads((folder / "config.json").read_text())
    for text, words in (
        (json.dumps({**told, "model_type": "dpt"}), "is of the kind 'dpt', not 'depth_anything'"),
        ("[]", "is of the kind None, not 'depth_anything'"),
        ("{", "cannot be read"),
    ):
        (tmp_path / "empty" / "config.json").write_text(text)
        with pytest.raises(ValueError, match=r"^weights: [^\n]*$") as caught:
            estimator(tmp_path / "empty")
        assert words in str(caught.value)
