"""Frames of shapes where they can be told, and normals that go into a map and come back."""

import pytest
import torch
import torch.nn.functional as F

from threestudio_like.ops.tangents import from_map, tangents, to_map


def grid(side: int = 5):
    """A square in (u, v), faces counter-clockwise."""
    i, j = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    uv = torch.stack([i, j], dim=-1).reshape(-1, 2).float() / (side - 1)
    a = (side * i + j)[:-1, :-1].reshape(-1)
    faces = torch.cat([torch.stack([a, a + side, a + side + 1], 1), torch.stack([a, a + side + 1, a + 1], 1)])
    return uv, faces


def directions(count: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return F.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(0), dtype=dtype), dim=-1)


def test_of_a_plane_they_are_the_direction_of_u_and_the_side_says_where_v_is():
    uv, faces = grid()
    vertices = torch.stack([uv[:, 0], torch.zeros(25), uv[:, 1]], dim=-1)  # x along u, z along v
    back = torch.tensor([0.0, -1.0, 0.0]).expand(25, 3)
    expected = torch.tensor([1.0, 0.0, 0.0, 1.0]).expand(25, 4)
    assert torch.allclose(tangents(vertices, back, uv, faces), expected, atol=1e-6)
    mirrored = torch.stack([1 - uv[:, 0], uv[:, 1]], dim=-1)
    expected = torch.tensor([-1.0, 0.0, 0.0, -1.0]).expand(25, 4)
    assert torch.allclose(tangents(vertices, back, mirrored, faces), expected, atol=1e-6)


def test_of_a_ball_they_run_along_its_parallels():
    uv, faces = grid(60)
    azimuth, elevation = uv[:, 0] * 2, uv[:, 1] * 2 - 1
    flat = elevation.cos()
    normals = torch.stack([flat * azimuth.cos(), flat * azimuth.sin(), elevation.sin()], dim=-1)
    east = torch.stack([-azimuth.sin(), azimuth.cos(), torch.zeros_like(azimuth)], dim=-1)
    found = tangents(2 * normals, normals, uv, faces)
    inner = (uv > 0.05).all(-1) & (uv < 0.95).all(-1)
    assert torch.allclose(found[inner, :3], east[inner], atol=1e-3) and (found[:, 3] == 1).all()


def test_they_are_units_across_the_normal_whatever_the_mesh():
    uv, faces = grid()
    generator = torch.Generator().manual_seed(1)
    vertices, uv = torch.rand(25, 3, generator=generator), torch.rand(25, 2, generator=generator)
    uv[faces[0]] = 0.5  # a face without area in (u, v)
    found = tangents(vertices, directions(26)[:25], uv, faces[:20])  # and vertices without faces
    assert torch.allclose(found[:, :3].norm(dim=-1), torch.ones(25), atol=1e-5)
    assert (found[:, :3] * directions(26)[:25]).sum(-1).abs().max() < 1e-5
    assert (found[:, 3].abs() == 1).all()


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_map_gives_back_what_went_in(side):
    """Also where normals and tangents are interpolated: neither units nor at right angles."""
    normals, found = directions(300).split([100, 200])
    normals = normals.repeat(2, 1) * torch.linspace(0.7, 1, 200)[:, None]
    tangent = directions(500)[300:]
    tangent = torch.cat([tangent, torch.full((200, 1), side)], dim=-1)
    b = side * torch.linalg.cross(normals, tangent[:, :3])
    above = (
        torch.linalg.solve(torch.stack([tangent[:, :3], b, normals], -1), found[..., None])[:, 2, 0] > 0.05
    )
    colors = to_map(3 * found, normals, tangent)
    assert colors.min() >= 0 and colors.max() <= 1 and (colors[:, 2] >= 0.5).all()
    assert above.sum() > 50
    assert torch.allclose(from_map(colors, normals, tangent)[above], found[above], atol=1e-4)


def test_the_flat_colour_is_the_smooth_normal_and_green_is_up():
    normal, tangent = torch.tensor([[0.0, -1.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    assert torch.allclose(to_map(normal, normal, tangent), torch.tensor([[0.5, 0.5, 1.0]]))
    up = from_map(torch.tensor([[0.5, 1.0, 0.5]]), normal, tangent)
    assert torch.allclose(up, torch.tensor([[0.0, 0.0, 1.0]]), atol=1e-6)
