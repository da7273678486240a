"""The texture holds the scene's colours."""

import pytest
import torch
import torch.nn.functional as F
import trimesh
from torch import nn

from threestudio_like.export.bake import baked, field_normals
from threestudio_like.export.draw import draw
from threestudio_like.export.unwrap import unwrapped
from threestudio_like.geometry.base import Implicit, Volume
from threestudio_like.ops.camera import orbit, rays
from threestudio_like.ops.texture import sample
from threestudio_like.records import Mesh
from threestudio_like.scene import Scene


class Position(nn.Module):
    """Features that are the point itself."""

    def features(self, points):
        return points


class Sum(nn.Module):
    """Colour = point / 2 + 1/2; remembers what else it was told."""

    def forward(self, features, normals, directions):
        self.normals, self.directions = normals, directions
        return features / 2 + 0.5


def rough(subdivisions: int = 4) -> Mesh:
    """A noisy ball with a waist: folds over itself when seen from one side."""
    ball = trimesh.creation.icosphere(subdivisions=subdivisions)
    vertices = torch.tensor(ball.vertices, dtype=torch.float32)
    noise = 1 + 0.02 * torch.randn(len(vertices), 1, generator=torch.Generator().manual_seed(0))
    waist = 1 - 0.6 * torch.exp(-((vertices[:, 2:] / 0.2) ** 2))
    vertices = 0.6 * vertices * noise * torch.cat([waist, waist, torch.ones_like(waist)], dim=-1)
    return Mesh(vertices, torch.tensor(ball.faces))


@pytest.fixture(scope="module")
def flat() -> Mesh:
    return unwrapped(rough(), size=512, padding=3, smoothing=20)


def test_texture_shows_the_scene_at_every_point_of_the_surface(flat):
    scene = Scene(geometry=Position(), material=Sum(), background=nn.Identity())
    model = baked(scene, flat, size=512, padding=3, normal_map=False)
    weights = torch.rand(len(flat.faces), 3, 1, generator=torch.Generator().manual_seed(1))
    weights = weights / weights.sum(1, keepdim=True)
    points = (flat.vertices[flat.faces] * weights).sum(1)
    found = sample(model.texture, (flat.uv[flat.uv_faces] * weights).sum(1))
    error = (found - (points / 2 + 0.5)).abs().amax(-1)
    assert error.mean() < 0.003 and error.quantile(0.99) < 0.02
    assert torch.allclose(scene.material.normals, -scene.material.directions)
    assert torch.allclose(scene.material.normals.norm(dim=-1), torch.ones(1), atol=1e-4)


def test_the_texture_has_no_holes(flat):
    scene = Scene(geometry=Position(), material=Sum(), background=nn.Identity())
    model = baked(scene, flat, size=64, padding=1, normal_map=False)
    assert model.texture.shape == (64, 64, 3)
    assert (model.texture > 0.1).all()  # colours of this ball are .2 and more; an unfilled texel is 0


def test_seams_do_not_show(flat):
    """Up to the last point of a piece the texture is the scene's: what lies beside it was filled from it."""
    scene = Scene(geometry=Position(), material=Sum(), background=nn.Identity())
    model = baked(scene, flat, size=512, padding=3, normal_map=False)
    sides = torch.tensor([[0, 1], [1, 2], [2, 0]])
    key = flat.faces[:, sides].sort(dim=-1).values.reshape(-1, 2)
    ours = flat.uv_faces[:, sides].reshape(-1, 2)
    order = torch.argsort(key[:, 0] * len(flat.vertices) + key[:, 1], stable=True)
    one, other = order[0::2], order[1::2]  # both faces of each edge: the ball is closed
    assert torch.equal(key[one], key[other])
    seam = ours[one].sort(dim=-1).values.ne(ours[other].sort(dim=-1).values).any(-1)
    assert seam.sum() > 100
    ends = flat.vertices[key[one][seam]].mean(1) / 2 + 0.5
    for faces in (one, other):
        found = sample(model.texture, flat.uv[ours[faces][seam]].mean(1))
        error = (found - ends).abs().amax(-1)
        assert error.mean() < 0.003 and error.quantile(0.99) < 0.01


class Bumps(Implicit):
    """A ball with bumps that are finer than the faces of its mesh."""

    def __init__(self):
        super().__init__(radius=1.0, num_features=3)

    def features(self, points):
        return points

    def sdf(self, points):
        height = 0.02 * (20 * points).sin().prod(-1, keepdim=True)
        return points.norm(dim=-1, keepdim=True) - 0.6 - height

    def gradient(self, points):
        with torch.enable_grad():
            points = points.requires_grad_()
            return torch.autograd.grad(self.sdf(points).sum(), points)[0]


def ball() -> Mesh:
    sphere = trimesh.creation.icosphere(subdivisions=3, radius=0.6)
    return Mesh(torch.tensor(sphere.vertices, dtype=torch.float32), torch.tensor(sphere.faces))


def test_a_normal_map_shows_what_is_finer_than_the_faces():
    geometry = Bumps()
    scene = Scene(geometry=geometry, material=Sum(), background=nn.Identity())
    flat = unwrapped(ball(), size=512, padding=3, smoothing=20)
    model = baked(scene, flat, size=512, padding=3, normal_map=True)
    one = torch.ones(1)
    camera = orbit(azimuth=one, elevation=0.3 * one, distance=2 * one, fov_y=0.6 * one, height=96, width=96)
    errors = []
    for mesh in (model._replace(normal_map=None), model):
        view = draw(mesh, camera, 1)
        place = camera.c2w[0, :3, 3] + rays(camera).directions * (
            view.depth / (rays(camera).directions * -camera.c2w[0, :3, 2]).sum(-1, keepdim=True)
        )
        hit = view.alpha[..., 0] > 0
        truth = F.normalize(geometry.gradient(place[hit]), dim=-1)
        errors.append(torch.rad2deg(torch.acos((view.normal[hit] * truth).sum(-1).clamp(-1, 1))).mean())
    assert errors[0] > 10 and errors[1] < 2


def test_of_a_geometry_that_is_no_field_there_is_no_normal_map_and_the_log_says_so(flat, caplog):
    scene = Scene(geometry=Position(), material=Sum(), background=nn.Identity())
    model = baked(scene, flat, size=64, padding=1, normal_map=True)
    assert model.normal_map is None and "nothing is finer" in caplog.text


class Fog(Volume):
    """Denser towards the middle."""

    def __init__(self):
        super().__init__(radius=1.0, num_features=3)

    def evaluate(self, points, *, gradients):
        return 1 - points.norm(dim=-1, keepdim=True), points, -points


def test_normals_of_a_fog_point_out_of_it():
    points = torch.rand(7, 3)
    assert torch.equal(field_normals(Fog(), points), points)
