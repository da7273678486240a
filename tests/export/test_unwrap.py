"""The atlas holds the whole surface, stretched little, and no part of it over another."""

import pytest
import torch
import trimesh

from threestudio_like.export.unwrap import packed, unwrapped
from threestudio_like.ops.raster import interpolate
from threestudio_like.ops.uv import box_charts, box_sides, hidden, texels
from threestudio_like.records import Mesh


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


def test_geometry_is_untouched_and_uv_inside_the_square(flat):
    mesh = rough()
    assert torch.equal(flat.vertices, mesh.vertices) and torch.equal(flat.faces, mesh.faces)
    assert flat.uv_faces.shape == mesh.faces.shape
    assert flat.uv.min() >= 0 and flat.uv.max() <= 1


def test_a_uv_belongs_to_one_vertex(flat):
    pairs = torch.stack([flat.uv_faces.reshape(-1), flat.faces.reshape(-1)], dim=-1).unique(dim=0)
    assert len(pairs) == len(pairs[:, 0].unique())


def test_no_two_triangles_share_a_texel(flat):
    """Each triangle's middle, looked up in the atlas, is found on that triangle (next to it, if tiny)."""
    fragments = texels(flat.uv, flat.uv_faces, 1024, 1024)
    position = interpolate(flat.vertices, fragments, flat.faces)[0]
    middle = flat.uv[flat.uv_faces].mean(1)
    row, column = ((1 - middle[:, 1]) * 1024).long(), (middle[:, 0] * 1024).long()
    error = (position[row, column] - flat.vertices[flat.faces].mean(1)).norm(dim=-1)
    assert error.median() < 0.003 and (error > 0.05).float().mean() < 0.001


def rolled() -> Mesh:
    """A sheet rolled up twice, rising a little: from above, one turn lies over the other."""
    turn, height = torch.linspace(0, 4 * torch.pi, 200), torch.linspace(0, 1, 12)
    along = torch.stack([turn.cos(), turn.sin(), 0.04 * turn], dim=-1)
    outward = torch.stack([turn.cos(), turn.sin(), torch.zeros_like(turn)], dim=-1)
    vertices = (along[:, None] + 0.5 * height[:, None] * outward[:, None]).reshape(-1, 3)
    i, j = torch.meshgrid(torch.arange(199), torch.arange(11), indexing="ij")
    a = (12 * i + j).reshape(-1)
    return Mesh(
        vertices, torch.cat([torch.stack([a, a + 1, a + 12], 1), torch.stack([a + 1, a + 13, a + 12], 1)])
    )


def test_what_folds_over_itself_is_cut():
    """The normals of a spiral ramp all look up: one piece by its sides alone."""
    mesh = rolled()
    side = box_sides(mesh.vertices, mesh.faces, 5)
    assert len(side.unique()) == 1
    once = packed(mesh, box_charts(mesh.vertices, mesh.faces, side, torch.zeros_like(side)), 256, 2)
    flat = unwrapped(mesh, size=256, padding=2, smoothing=5)
    lost = [hidden(m.vertices, m.faces, m.uv, m.uv_faces, 256).float().mean() for m in (once, flat)]
    assert lost[0] > 0.3 and lost[1] == 0


def test_an_isosurface_is_stretched_little(flat):
    """Singular values of the way from (u, v) to space, by area, over those of an even texture."""
    a, b, c = flat.vertices[flat.faces].double().unbind(1)
    p, q, r = flat.uv[flat.uv_faces].double().unbind(1)
    plane = torch.stack([q - p, r - p], dim=-1)
    share = torch.linalg.cross(b - a, c - a).norm(dim=-1)
    share = share / share.sum()
    whole = torch.linalg.det(plane).abs() > 1e-9
    assert share[~whole].sum() < 0.01
    values = torch.linalg.svdvals(torch.stack([b - a, c - a], dim=-1)[whole] @ torch.linalg.inv(plane[whole]))
    even = (torch.linalg.cross(b - a, c - a).norm(dim=-1).sum() / torch.linalg.det(plane).abs().sum()).sqrt()
    assert (share[whole, None] * (values / even) ** 2).sum().div(2).sqrt() < 1.3


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_unit_of_length_does_not_matter(scale):
    small = rough(2)
    flat = unwrapped(small._replace(vertices=scale * small.vertices), size=128, padding=2, smoothing=5)
    assert flat.uv.isfinite().all() and flat.uv.min() >= 0 and flat.uv.max() <= 1
    assert flat.uv.amax(0).min() > 0.5


def test_faces_without_area_are_refused():
    flat = Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]))
    with pytest.raises(ValueError, match="no area"):
        unwrapped(flat, size=64, padding=2, smoothing=1)
