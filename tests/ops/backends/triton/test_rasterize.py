"""rasterize by Triton: triangles of all sizes, some behind the camera, some as near as others."""

import pytest
import torch

from threestudio_like.ops import dispatch, raster


def case(num_views):
    """Clip positions of loose triangles before, in and behind each camera, of a fan, and of a face twice."""
    generator = torch.Generator().manual_seed(num_views)
    loose = 3 * torch.rand(30, 3, generator=generator) - 1.5
    angles = torch.arange(20) * torch.pi / 10
    fan = torch.stack([0.4 * angles.cos(), 0.4 * angles.sin(), 0.2 * (3 * angles).sin()], dim=1)
    vertices = torch.cat([loose, fan, torch.zeros(1, 3)])
    rim = 30 + torch.arange(20)
    faces = torch.stack([rim, 30 + (rim - 29) % 20, torch.full_like(rim, 50)], dim=1)
    faces = torch.cat([torch.arange(30).reshape(-1, 3), faces, faces[:2].flip(1)])
    turns = torch.linalg.qr(torch.randn(num_views, 3, 3, generator=generator)).Q
    xyz = vertices @ turns + torch.tensor([0.0, 0.0, 1.6])
    clip_z = xyz[..., 2:] * 10.2 / 9.8 - 2.0 / 9.8
    return torch.cat([2 * xyz[..., :2], clip_z, xyz[..., 2:]], dim=-1), faces


@pytest.mark.parametrize(("num_views", "height", "width"), [(1, 19, 26), (2, 9, 11)])
def test_values_and_gradients_are_the_reference_s(agrees, num_views, height, width):
    positions, faces = case(num_views)
    agrees(raster.rasterize, positions, faces, height, width)


def test_centres_on_edges_belong_to_one_triangle(agrees):
    """Two halves of a square whose diagonal and sides run through centres of pixels."""
    corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * 0.875
    positions = torch.cat([corners, torch.zeros(4, 1), torch.ones(4, 1)], dim=1)[None]
    agrees(raster.rasterize, positions, torch.tensor([[0, 1, 2], [0, 2, 3]]), 8, 8)


def test_the_nearest_shows_on_both_sides_of_depth_0_and_of_equals_the_first(agrees):
    """Triangles over the whole picture, at z / w below 0, at both zeros, and above."""
    corners = torch.tensor([[-1.0, -1.0], [3.0, -1.0], [-1.0, 3.0]])
    orders = [(-0.5, -0.8, 0.3), (0.0, -0.0, 0.2), (-0.0, 0.0, 0.7), (0.6, 0.4, 0.4)]
    depths = torch.tensor(orders).repeat_interleave(3, dim=1)[..., None]
    positions = torch.cat([corners.repeat(4, 3, 1), depths, torch.ones_like(depths)], dim=-1)
    faces = torch.arange(9).reshape(3, 3)
    found = raster.rasterize.reference(positions, faces, 3, 4).face
    assert found[:, 0, 0].tolist() == [1, 0, 0, 1]
    agrees(raster.rasterize, positions, faces, 3, 4)


def test_a_floor_reaches_from_behind_the_camera_to_the_horizon(agrees):
    """One corner before the near plane, or two; far beyond the sides of the picture."""
    xyz = torch.tensor([[-9.0, -1.0, -8.0], [9.0, -1.0, -8.0], [0.0, -1.0, 7.0], [4.0, -0.5, 3.0]])
    clip_z = xyz[:, 2:] * 10.2 / 9.8 - 2.0 / 9.8
    positions = torch.cat([2 * xyz[:, :2], clip_z, xyz[:, 2:]], dim=1)[None]
    for faces in ([[0, 1, 2]], [[2, 0, 1]], [[1, 2, 0]], [[0, 2, 3]], [[3, 0, 2]]):
        found = raster.rasterize.reference(positions, torch.tensor(faces), 11, 10)
        assert (found.face == 0).sum() > 3
        agrees(raster.rasterize, positions, torch.tensor(faces), 11, 10)


def test_no_faces_leave_nothing(device):
    none = torch.empty(0, 3, dtype=torch.int64, device=device)
    found = dispatch._load("rasterize", "triton")(torch.rand(1, 3, 4, device=device), none, 4, 5)
    assert (found.face == -1).all()
    assert found.barycentric.abs().max() == found.depth.abs().max() == 0


def test_what_is_not_a_number_is_not_drawn(agrees):
    positions, faces = case(1)
    positions[0, :3] = torch.nan
    agrees(raster.rasterize, positions, faces[:2], 9, 11)
