"""A cloud's surface is painted with what is seen of it: colours inside do not come through."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from threestudio_like.export.bake import baked
from threestudio_like.export.model import Model, Texture
from threestudio_like.export.shots import SIDE, everywhere, shots
from threestudio_like.geometry.gaussians import Gaussians
from threestudio_like.material.direct import Direct
from threestudio_like.ops.camera import world_to_clip
from threestudio_like.ops.texture import sample
from threestudio_like.records import View
from threestudio_like.scene import Scene

GREEN, RED = torch.tensor([0.1, 0.8, 0.2]), torch.tensor([0.9, 0.1, 0.1])


class Data(NamedTuple):
    pictures: View


def fruit() -> Scene:
    """A ball of radius 1/2, green outside; what is below is red, and reaches through."""
    cloud = Gaussians(
        radius=0.8, num_features=3, degree=0, count=2, ball=0.5, opacity=0.95, level=0.4, min_component=0.1
    )
    generator = torch.Generator().manual_seed(0)
    directions = F.normalize(torch.randn(6000, 3, generator=generator), dim=-1)
    skin = torch.arange(6000) < 3000
    points = directions * torch.where(skin, 0.5, 0.42)[:, None]
    cloud.fill(points, torch.where(skin[:, None], GREEN, RED) - 0.5, torch.where(skin, 0.03, 0.05))
    return Scene(geometry=cloud, material=Direct(), background=nn.Identity())


def test_a_ball_fits_into_every_picture_and_no_smaller_one():
    camera = everywhere(0.7)
    assert len(camera.c2w) == 26
    rim = 0.7 * F.normalize(torch.randn(20000, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    clip = F.pad(rim, (0, 1), value=1.0) @ world_to_clip(camera, 0.1, 20.0).mT
    assert 0.98 < (clip[..., :2] / clip[..., 3:]).abs().max() <= 1.0001


def test_pictures_are_straight_colour_and_alpha():
    view = shots(fruit(), 0.6)
    assert view.rgb.shape == (26, SIDE, SIDE, 3)
    shown = (view.alpha[..., 0] > 0.05) & (view.alpha[..., 0] < 0.5)  # the rim
    assert (view.rgb[shown] - GREEN).abs().mean() < 0.05  # of what is not divided by alpha: 0.3
    assert (view.alpha > 0.99).float().mean() > 0.25


def test_the_exported_texture_is_what_is_seen():
    scene = fruit()
    texture = Texture(size=256, padding=2, smoothing=5, normal_map=False, sharpness=None)
    model = Model(formats=["glb"], resolution=32, texture=texture, frames=1, fps=1, side=32, views=1)
    mesh = model.mesh(scene, Data(shots(scene, 0.6)))
    field = baked(scene, mesh, size=256, padding=2, normal_map=False)
    middles = mesh.uv[mesh.uv_faces].mean(1)
    found, other = ((sample(one.texture, middles) - GREEN).abs().mean() for one in (mesh, field))
    assert found < 0.02 and other > 5 * found
