"""The texture holds the scene's colours."""

import pytest
import torch
import trimesh
from torch import nn

from threestudio_like.export.bake import baked
from threestudio_like.export.unwrap import unwrapped
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
    model = baked(scene, flat, size=512, padding=3)
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
    model = baked(scene, flat, size=64, padding=1)
    assert model.texture.shape == (64, 64, 3)
    assert (model.texture > 0.1).all()  # colours of this ball are .2 and more; an unfilled texel is 0
