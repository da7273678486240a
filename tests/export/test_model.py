"""From a scene to the files, whole: what is in the folder is what was asked for."""

from typing import NamedTuple

import pytest
import torch
import trimesh
from torch import nn

from threestudio_like.export.draw import draw
from threestudio_like.export.mesh import read
from threestudio_like.export.model import Model, Texture
from threestudio_like.geometry.base import Geometry
from threestudio_like.ops.camera import orbit
from threestudio_like.records import Mesh, View
from threestudio_like.scene import Scene


class Ball(Geometry):
    """Radius 1/2; features are the point."""

    def __init__(self):
        super().__init__(radius=1.0, num_features=3)

    def surface(self, resolution):
        ball = trimesh.creation.icosphere(subdivisions=resolution, radius=0.5)
        return Mesh(torch.tensor(ball.vertices, dtype=torch.float32), torch.tensor(ball.faces))

    def features(self, points):
        return points + 0.5

    def files(self):
        return {"ball.txt": b"round"}


class Nothing(Ball):
    def surface(self, resolution):
        return Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))


class Same(nn.Module):
    def forward(self, features, normals, directions):
        return features


def model(**changes) -> Model:
    settings = dict(
        formats=["glb", "obj", "ply"],
        resolution=3,
        texture=Texture(size=128, padding=2, smoothing=5, normal_map=False, sharpness=None),
        frames=3,
        fps=3,
        side=32,
        views=2,
    )
    return Model(**(settings | changes))


def reference() -> View:
    zero = torch.zeros(1)
    camera = orbit(azimuth=zero, elevation=zero, distance=zero + 2, fov_y=zero + 0.8, height=40, width=40)
    return View(camera, torch.rand(1, 40, 40, 3), torch.ones(1, 40, 40, 1))


class Data(NamedTuple):
    pictures: View


def scene(geometry: nn.Module) -> Scene:
    return Scene(geometry=geometry, material=Same(), background=nn.Identity())


def test_everything_is_there_and_the_file_shows_the_scene(tmp_path):
    files = model()(scene(Ball()), Data(reference()), reference(), tmp_path / "export")
    assert set(files) == {"glb", "obj", "ply", "preview", "front", "turntable", "ball"}
    made = {path.name for path in (tmp_path / "export").iterdir()}
    assert made == {
        "model.glb",
        "model.obj",
        "model.mtl",
        "model.png",
        "model.ply",
        "preview.png",
        "front.png",
        "turntable.mp4",
        "ball.txt",
    }
    assert (tmp_path / "export" / "ball.txt").read_bytes() == b"round"
    mesh = read(tmp_path / "export" / "model.glb")
    assert mesh.vertices.norm(dim=-1).min() == pytest.approx(0.5, abs=1e-5)
    assert mesh.texture.shape == (128, 128, 3)


def test_pictures_are_painted_over_the_scene_if_asked_for(tmp_path):
    green = torch.tensor([0.0, 1.0, 0.0]).expand(1, 40, 40, 3)
    data = Data(reference()._replace(rgb=green))
    texture = Texture(size=128, padding=2, smoothing=5, normal_map=False, sharpness=4.0)
    for painted in (texture, texture._replace(sharpness=None)):
        model(formats=["glb"], texture=painted)(scene(Ball()), data, reference(), tmp_path)
        seen = draw(read(tmp_path / "model.glb"), reference().camera, 1)
        error = (seen.rgb[0, 20, 20] - green[0, 20, 20]).abs().max()
        assert error < 0.02 if painted is texture else error > 0.4


def test_an_empty_scene_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match="has no surface"):
        model()(scene(Nothing()), Data(reference()), reference(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_settings_are_checked_before_a_run():
    with pytest.raises(ValueError, match="cannot write 'fbx'"):
        model(formats=["fbx"])
    with pytest.raises(ValueError, match="formats: none"):
        model(formats=[])
    with pytest.raises(ValueError, match="frames: at least 1"):
        model(frames=0)
    with pytest.raises(ValueError, match="must be even"):
        model(side=33)
