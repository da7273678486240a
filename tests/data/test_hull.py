"""The visual hull of a ball and of a box, and of silhouettes that agree on nothing."""

import pytest
import torch

from threestudio_like.data.hull import box, nearest_point, outline_distance, outside, skin
from threestudio_like.data.posed import Cameras, spiral
from threestudio_like.ops.camera import rays
from threestudio_like.records import View


def silhouettes(centre, radius):
    """A ball from everywhere, in closed form."""
    cameras = Cameras(train=24, test=0, elevation=[-80.0, 80.0], distance=2.0, fov_y=45.0)
    camera = spiral(cameras, 24, 0, 64)
    pixels = rays(camera)
    origins = pixels.origins - torch.tensor(centre)
    nearest = torch.linalg.cross(origins, pixels.directions).norm(dim=-1, keepdim=True)
    alpha = (nearest < radius).float()
    return View(camera, alpha.expand(-1, -1, -1, 3), alpha)


@pytest.mark.parametrize(("centre", "radius"), [((0.0, 0.0, 0.0), 0.4), ((0.2, -0.3, 0.1), 0.15)])
def test_a_ball_fills_its_hull_s_box(centre, radius):
    low, high = box(silhouettes(centre, radius))
    torch.testing.assert_close((low + high) / 2, torch.tensor(centre), atol=0.03, rtol=0)
    torch.testing.assert_close(high - low, torch.full((3,), 2 * radius), atol=0.08, rtol=0)
    assert (high - low > 2 * radius - 0.03).all()  # nothing of it is cut off


def test_a_world_of_another_size_and_place():
    view = silhouettes((0.0, 0.0, 0.0), 0.4)
    c2w = view.camera.c2w.clone()
    c2w[:, :3, 3] = 100 * c2w[:, :3, 3] + torch.tensor([5.0, 0.0, -7.0])
    moved = view._replace(camera=view.camera._replace(c2w=c2w))
    torch.testing.assert_close(nearest_point(moved.camera), torch.tensor([5.0, 0.0, -7.0]), atol=1e-2, rtol=0)
    low, high = box(moved)
    torch.testing.assert_close((high - low) / 100, torch.full((3,), 0.8), atol=0.08, rtol=0)


def test_silhouettes_that_agree_on_nothing():
    view = silhouettes((0.0, 0.0, 0.0), 0.1)
    turned = view._replace(alpha=torch.roll(view.alpha, 16, dims=2))
    with pytest.raises(ValueError, match="no place is object in all pictures"):
        box(turned)


def test_the_distance_to_the_hull_of_a_ball():
    view = silhouettes((0.1, -0.1, 0.0), 0.35)
    points = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * 0.3
    true = (points - torch.tensor([0.1, -0.1, 0.0])).norm(dim=-1) - 0.35
    found = outside(view, points)
    near = true.abs() < 0.1
    assert near.sum() > 100 and (found - true)[near].abs().mean() < 0.01
    assert ((found < 0) == (true < 0))[true.abs() > 0.02].all()


def test_the_skin_is_near_the_surface_all_around():
    view = silhouettes((0.0, 0.0, 0.0), 0.35)
    points = skin(view, torch.stack(box(view)))
    assert len(points) > 1000 and (points.norm(dim=-1) - 0.35).abs().max() < 0.05
    octants = (points > 0).long() @ torch.tensor([1, 2, 4])
    assert (octants.bincount(minlength=8) > 100).all()


def test_the_distance_to_an_outline_is_that_of_brute_force():
    mask = torch.rand(9, 13, generator=torch.Generator().manual_seed(0)) > 0.6
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(13.0), indexing="ij")
    places = torch.stack([rows, columns], dim=-1)
    away = torch.cdist(places.view(-1, 2), places.view(-1, 2)).view(9, 13, 9, 13)
    to_mask, to_rest = (away.masked_fill(~m, torch.inf).amin((2, 3)) - 0.5 for m in (mask, ~mask))
    torch.testing.assert_close(outline_distance(mask), torch.where(mask, -to_rest, to_mask))
    assert (outline_distance(torch.zeros(4, 4, dtype=torch.bool)) > 4).all()
