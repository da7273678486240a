"""A scene comes back from disk as it was."""

import pytest
import safetensors.torch
import torch
from torch import nn

from threestudio_like.run.composition import build
from threestudio_like.run.errors import UserError
from threestudio_like.run.scenes import load, save, saved
from threestudio_like.scene import Scene

PARTS = {
    "_target_": "threestudio_like.scene.Scene",
    "geometry": {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2},
    "material": {"_target_": "torch.nn.BatchNorm1d", "num_features": 2},
    "background": {"_target_": "torch.nn.Identity"},
}


def test_round_trip(tmp_path) -> None:
    scene = Scene(geometry=nn.Linear(3, 2), material=nn.BatchNorm1d(2), background=nn.Identity())
    assert not saved(tmp_path)
    save(scene, PARTS, tmp_path)
    again = load(tmp_path)
    assert saved(tmp_path) and isinstance(again, Scene)
    assert again.state_dict().keys() == scene.state_dict().keys()
    assert all(torch.equal(again.state_dict()[name], value) for name, value in scene.state_dict().items())


def test_every_name_must_match(tmp_path) -> None:
    scene = Scene(geometry=nn.Linear(3, 2, bias=False), material=nn.BatchNorm1d(2), background=nn.Identity())
    save(scene, PARTS, tmp_path)
    with pytest.raises(
        UserError, match="scene.safetensors is not of the scene in scene.yaml: it lacks 'geometry.bias'"
    ):
        load(tmp_path)


@pytest.mark.parametrize("name", ["scene.yaml", "scene.safetensors"])
def test_damaged_files(tmp_path, name) -> None:
    save(
        Scene(geometry=nn.Linear(3, 2), material=nn.BatchNorm1d(2), background=nn.Identity()), PARTS, tmp_path
    )
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:50] + b"[")
    with pytest.raises(UserError, match=f"resume: .*{name} cannot be read"):
        load(tmp_path)


def test_a_stranger_s_scene_calls_nothing(tmp_path) -> None:
    """A function of another package in the place of a part would be called: this one unpickles a file."""
    scene = Scene(geometry=nn.Linear(3, 2), material=nn.BatchNorm1d(2), background=nn.Identity())
    pickled = {"_target_": "torch.load", "f": str(tmp_path / "evil.pkl"), "weights_only": False}
    save(scene, {**PARTS, "background": pickled}, tmp_path)
    with pytest.raises(UserError, match=r"background._target_: 'torch.load' is nothing that"):
        load(tmp_path)


GAUSSIANS = {
    "_target_": "threestudio_like.geometry.gaussians.Gaussians",
    **{"radius": 1.0, "num_features": 3, "degree": 1, "count": 5, "ball": 0.5},
    **{"opacity": 0.5, "level": 0.4, "min_component": 0.0},
}


def test_parts_that_change_their_size_come_back(tmp_path) -> None:
    """Five Gaussians when they were made, seven when they were saved."""
    torch.manual_seed(0)
    parts = {**PARTS, "geometry": GAUSSIANS, "material": {"_target_": "torch.nn.Identity"}}
    scene = build(parts, "a")
    scene.geometry.fill(torch.rand(7, 3), torch.rand(7, 3), torch.rand(7))
    save(scene, parts, tmp_path)
    assert torch.equal(load(tmp_path).geometry.means, scene.geometry.means)
    (tmp_path / "scene.safetensors").write_bytes(safetensors.torch.save({"geometry.means": torch.rand(7, 3)}))
    with pytest.raises(UserError, match="is not of the scene in scene.yaml: it lacks 'geometry.log_scales'"):
        load(tmp_path)
