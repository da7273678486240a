"""Hits are where the surface is, and a pixel is the mean of its own."""

import math

import pytest
import torch
import torch.nn.functional as F

from threestudio_like.ops.camera import crop, orbit, rays
from threestudio_like.ops.supersample import averaged, hits
from threestudio_like.records import Camera, Mesh

NEAR, FAR = 0.2, 7.0


def cameras(height: int = 10, width: int = 14) -> Camera:
    """Two, at no special angle."""
    return orbit(
        azimuth=torch.tensor([0.3, 2.5]),
        elevation=torch.tensor([0.4, -0.2]),
        distance=torch.tensor([2.0, 2.3]),
        fov_y=torch.tensor([0.7, 0.8]),
        height=height,
        width=width,
    )


def squares(*places: float, half: float = 0.3) -> Mesh:
    """Across the x axis, one at each place; each of two faces."""
    flat = half * torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    pair = torch.tensor([[0, 1, 2], [0, 2, 3]])
    return Mesh(
        torch.cat([F.pad(flat, (1, 0), value=x) for x in places]),
        torch.cat([pair + 4 * i for i in range(len(places))]),
    )


@pytest.mark.parametrize("oversampling", [1, 3])
def test_hits_are_points_of_the_surface(oversampling):
    """Along its sample's ray, at its depth, each lies on its face's plane, where its weights say."""
    mesh, camera = squares(-0.2, 0.3), cameras()
    found = hits(mesh, camera, oversampling, NEAR, FAR)
    assert set(found.face.tolist()) == {0, 1, 2, 3} and set(found.view.tolist()) == {0, 1}
    fine = camera._replace(height=10 * oversampling, width=14 * oversampling)
    sight = rays(fine)
    directions = sight.directions[found.view, found.row, found.column]
    along = -(directions * camera.c2w[found.view, :3, 2]).sum(-1, keepdim=True)
    points = camera.c2w[found.view, :3, 3] + directions * found.depth / along
    torch.testing.assert_close(points, found.interpolated(mesh.vertices, mesh.faces), atol=1e-4, rtol=0)
    # attributes with faces of their own: one number for each
    own = torch.arange(len(mesh.faces))[:, None].expand(-1, 3).contiguous()
    numbers = found.interpolated(torch.arange(len(mesh.faces))[:, None].float(), own)
    torch.testing.assert_close(numbers[:, 0], found.face.float())


def test_what_is_nearer_than_near_or_further_than_far_is_not_hit():
    zero = torch.zeros(1)
    camera = orbit(azimuth=zero, elevation=zero, distance=zero + 2, fov_y=zero + 1, height=9, width=9)
    for places, expected in (((0.5, -0.5), {2, 3}), ((0.5, 1.5), set()), ((-1.5, -2.5), set())):
        found = hits(squares(*places), camera, 2, 2.0, 3.0)
        assert set(found.face.tolist()) == expected
        assert found.depth.numel() == 0 or torch.allclose(found.depth, torch.tensor(2.5))


@pytest.mark.parametrize("oversampling", [1, 2, 3])
def test_a_pixel_is_the_mean_of_its_hits(oversampling):
    camera = cameras()
    found = hits(squares(-0.2, 0.3), camera, oversampling, NEAR, FAR)
    numbers = torch.Generator().manual_seed(0)
    rgb, normal = torch.rand(2, len(found.face), 3, generator=numbers)
    view = averaged(camera, found, rgb, normal)
    own: dict[tuple[int, int, int], list[int]] = {}
    for m, (b, row, column) in enumerate(zip(found.view, found.row, found.column, strict=True)):
        own.setdefault((int(b), int(row) // oversampling, int(column) // oversampling), []).append(m)
    shares = {len(samples) / oversampling**2 for samples in own.values()}
    assert 1.0 in shares and (oversampling == 1 or len(shares) > 2)  # outlines are among them
    for pixel, samples in own.items():
        assert view.alpha[pixel].item() == pytest.approx(len(samples) / oversampling**2)
        torch.testing.assert_close(view.rgb[pixel], rgb[samples].mean(0))
        torch.testing.assert_close(view.depth[pixel], found.depth[samples].mean(0))
        torch.testing.assert_close(view.normal[pixel], F.normalize(normal[samples].mean(0), dim=0))
    empty = view.alpha[..., 0] == 0
    assert int((~empty).sum()) == len(own) and empty.any()
    for image in (view.rgb, view.depth, view.normal):
        assert (image[empty] == 0).all()


def test_where_nothing_is_hit_everything_is_zero():
    camera = cameras()
    view = averaged(camera, hits(squares(50.0), camera, 2, NEAR, FAR), torch.zeros(0, 3), torch.zeros(0, 3))
    assert all((image == 0).all() for image in view[1:]) and view.rgb.shape == (2, 10, 14, 3)


def test_a_square_covers_its_share_of_the_picture():
    zero, half = torch.zeros(1), 0.3
    camera = orbit(azimuth=zero, elevation=zero, distance=zero + 2, fov_y=zero + 1, height=32, width=32)
    found = hits(squares(0.0, half=half), camera, 4, NEAR, FAR)
    view = averaged(camera, found, torch.ones(len(found.face), 3), torch.ones(len(found.face), 3))
    side = float(view.alpha.mean().sqrt())
    assert side == pytest.approx(half / (2 * math.tan(0.5)), abs=1 / (32 * 4))  # to a sample
    torch.testing.assert_close(view.depth[0, 16, 16], torch.tensor([2.0]))


def test_a_window_of_a_picture_is_that_part_of_it():
    mesh, whole = squares(-0.2, 0.3), cameras()
    pictures = []
    for camera in (whole, crop(whole, 2, 3, 6, 8)):
        found = hits(mesh, camera, 2, NEAR, FAR)
        ones = torch.ones(len(found.face), 3)
        pictures.append(averaged(camera, found, ones, ones))
    assert (pictures[1].alpha > 0).any()
    for name in ("alpha", "depth"):
        full, part = (getattr(view, name) for view in pictures)
        torch.testing.assert_close(part, full[:, 2:8, 3:11], atol=1e-4, rtol=0)
