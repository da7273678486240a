"""Cameras against geometry worked out by hand."""

import math

import pytest
import torch

from threestudio_like.ops.camera import (
    around,
    chosen,
    crop,
    focal,
    orbit,
    rays,
    repeated,
    resized,
    spherical,
    split,
    withdrawn,
    world_to_clip,
)


def camera(azimuth, elevation, distance=2.0, fov=0.8, height=6, width=8):
    """One or several cameras in degrees."""
    azimuth = torch.as_tensor(azimuth, dtype=torch.float64).reshape(-1).deg2rad()
    return orbit(
        azimuth=azimuth,
        elevation=torch.as_tensor(elevation, dtype=torch.float64).reshape(-1).deg2rad().expand(len(azimuth)),
        distance=torch.full_like(azimuth, distance),
        fov_y=torch.full_like(azimuth, fov),
        height=height,
        width=width,
    )


def test_azimuth_zero_stands_on_x_and_ninety_on_y():
    centres = camera([0, 90, 180], 0).c2w[:, :3, 3]
    expected = torch.tensor([[2.0, 0, 0], [0, 2, 0], [-2, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(centres, expected, atol=1e-12, rtol=0)


def test_elevation_is_up_and_the_frame_is_right_handed():
    c2w = camera(30, 40).c2w[0]
    assert c2w[2, 3] == pytest.approx(2 * math.sin(math.radians(40)))
    assert torch.linalg.det(c2w[:3, :3]) == pytest.approx(1.0)
    assert c2w[2, 1] > 0  # the camera's up has a part along z


def test_spherical_undoes_orbit():
    azimuth, elevation, distance = spherical(camera([-170, 10, 95], [20.0, -30, 80], 1.7))
    torch.testing.assert_close(azimuth.rad2deg(), torch.tensor([-170.0, 10, 95], dtype=torch.float64))
    torch.testing.assert_close(elevation.rad2deg(), torch.tensor([20.0, -30, 80], dtype=torch.float64))
    torch.testing.assert_close(distance, torch.full((3,), 1.7, dtype=torch.float64))


def test_rays_are_unit_and_the_middle_one_looks_at_the_origin():
    view = camera(30, 20, height=5, width=7)
    sight = rays(view)
    torch.testing.assert_close(sight.directions.norm(dim=-1), torch.ones(1, 5, 7, dtype=torch.float64))
    middle = sight.origins[0, 2, 3] + 2.0 * sight.directions[0, 2, 3]
    torch.testing.assert_close(middle, torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)


def test_the_top_row_is_up_and_the_last_column_is_right():
    view = camera(0, 0)  # on +x, so its right is +y
    directions = rays(view).directions[0]
    assert directions[0, 0, 2] > 0 > directions[-1, 0, 2]
    assert directions[0, -1, 1] > 0 > directions[0, 0, 1]


def test_the_outermost_rays_span_the_field_of_view():
    tall = camera(0, 0, fov=1.0, height=1000, width=2)
    directions = rays(tall).directions[0, :, 0]
    span = torch.acos((directions[0] * directions[-1]).sum())
    assert span == pytest.approx(1.0, abs=2e-3)


def test_a_lens_of_35_on_a_sensor_of_32_has_the_published_focal_lengths():
    """Of the pictures that Zero-1-to-3 and SyncDreamer learn from."""
    fov = 2 * math.atan(32 / 2 / 35)
    assert math.degrees(fov) == pytest.approx(49.1343, abs=1e-4)
    for width, length in ((256, 280), (64, 70), (32, 35)):
        assert focal(camera(0, 0, fov=fov, height=width, width=width)).item() == pytest.approx(length)


@pytest.mark.parametrize("pixel", [(0, 0), (2, 5), (5, 7)])
def test_projecting_a_point_of_a_ray_gives_its_pixel_back(pixel):
    row, column = pixel
    view = camera(50, -15)
    sight = rays(view)
    point = sight.origins[0, row, column] + 1.3 * sight.directions[0, row, column]
    clip = world_to_clip(view, 0.1, 10.0)[0] @ torch.cat([point, torch.ones(1, dtype=torch.float64)])
    x, y = ((clip[:2] / clip[3] + 1) / 2 * torch.tensor([8, 6])).tolist()
    assert (x, y) == pytest.approx((column + 0.5, row + 0.5))


def test_depth_runs_from_minus_one_at_near_to_one_at_far():
    view = camera(0, 0, distance=2.0)
    matrix = world_to_clip(view, 0.5, 4.0)[0]
    for depth, expected in ((0.5, -1.0), (4.0, 1.0)):
        clip = matrix @ torch.tensor([2.0 - depth, 0, 0, 1], dtype=torch.float64)
        assert (clip[2] / clip[3]).item() == pytest.approx(expected)


def test_resized_and_repeated_keep_the_pose():
    view = camera(10, 20)
    assert (resized(view, 3, 4).height, resized(view, 3, 4).width) == (3, 4)
    assert repeated(view, 5).c2w.shape == (5, 4, 4)
    assert torch.equal(repeated(view, 5).c2w[4], view.c2w[0])


@pytest.mark.parametrize("place", [(1, 2), (torch.tensor([0, 3]), torch.tensor([4, 1]))])
def test_the_rays_of_a_crop_are_a_crop_of_the_rays(place):
    view = camera([50, 120], -15, height=6, width=8)
    window = crop(view, *place, 3, 4)
    assert (window.height, window.width) == (3, 4)
    whole, part = rays(view).directions, rays(window).directions
    for i, (top, left) in enumerate(
        zip(*(torch.as_tensor(p).expand(2).tolist() for p in place), strict=True)
    ):
        torch.testing.assert_close(part[i], whole[i, top : top + 3, left : left + 4])


def test_a_crop_of_a_crop_is_a_crop():
    view = camera([50, 120], -15, height=16, width=18)
    twice, once = crop(crop(view, 3, 2, 10, 12), 4, 5, 3, 4), crop(view, 7, 7, 3, 4)
    for a, b in zip(twice[:2] + twice[4:], once[:2] + once[4:], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("pixel", [(0, 0), (2, 3)])
def test_projecting_onto_a_crop_gives_its_pixel(pixel):
    row, column = pixel
    view = crop(camera(50, -15), 2, 1, 3, 4)
    sight = rays(view)
    point = sight.origins[0, row, column] + 1.3 * sight.directions[0, row, column]
    clip = world_to_clip(view, 0.1, 10.0)[0] @ torch.cat([point, torch.ones(1, dtype=torch.float64)])
    x, y = ((clip[:2] / clip[3] + 1) / 2 * torch.tensor([4, 3])).tolist()
    assert (x, y) == pytest.approx((column + 0.5, row + 0.5))


def test_resizing_a_crop_keeps_what_it_shows():
    window = crop(camera([50, 120], -15, height=16, width=16), 3, 2, 4, 4)
    fine = rays(resized(window, 12, 12)).directions
    torch.testing.assert_close(fine[:, 1::3, 1::3], rays(window).directions)


def test_around_begins_where_it_is_told_and_closes_the_circle():
    """Steps of 30 degrees from the camera itself; or with the camera in the middle of two."""
    start = camera(20, 35, 1.7)
    for first, azimuths in ((0.0, range(20, 380, 30)), (0.5, range(35, 395, 30))):
        torch.testing.assert_close(around(start, 12, first).c2w, camera([*azimuths], 35, 1.7).c2w)
    assert torch.equal(around(start, 12, 0.0).c2w[0], start.c2w[0])


def test_a_camera_carried_around_sees_what_it_saw_of_what_turns_with_it():
    """Wherever it looks: here past the origin and with its head on one side, at a window of its picture."""
    c2w = camera(20, 35).c2w @ torch.linalg.matrix_exp(
        torch.tensor([[0, -0.3, 0.1, 0], [0.3, 0, -0.2, 0], [-0.1, 0.2, 0, 0], [0] * 4], dtype=torch.float64)
    )
    view = crop(camera(20, 35)._replace(c2w=c2w), 1, 2, 3, 4)
    ring = around(view, 4, 1.0)
    point = torch.tensor([0.3, -0.2, 0.4, 1.0], dtype=torch.float64)
    x, y, z, _ = point
    turned = torch.stack([torch.stack(xy) for xy in ((-y, x), (-x, -y), (y, -x), (x, y))])
    turned = torch.cat([turned, point[2:].expand(4, 2)], dim=-1)
    seen = (world_to_clip(ring, 0.1, 10.0) @ turned[..., None])[..., 0]
    torch.testing.assert_close(seen, (world_to_clip(view, 0.1, 10.0) @ point).expand(4, 4))


def test_split_loses_nothing():
    view = crop(camera([10, 20, 30, 40, 50], 20), torch.arange(5), 1, 3, 4)
    parts = split(view, 2)
    assert [len(part.c2w) for part in parts] == [2, 2, 1]
    assert all((part.height, part.width) == (3, 4) for part in parts)
    for field in ("c2w", "fov_y", "shift"):
        assert torch.equal(torch.cat([getattr(part, field) for part in parts]), getattr(view, field))


def test_chosen_takes_all_that_belongs_to_a_camera():
    view = crop(camera([10, 20, 30], 20), torch.tensor([0, 1, 2]), 1, 3, 4)
    some = chosen(view, torch.tensor([2, 0]))
    for whole, part in zip(view[:2] + view[4:], some[:2] + some[4:], strict=True):
        assert torch.equal(part, whole[[2, 0]])
    assert focal(view)[1].item() == pytest.approx(focal(camera(0, 0)).item())


@pytest.mark.parametrize("shift", [None, [1.0, -0.5]])
def test_withdrawn_cameras_just_see_everything(shift) -> None:
    ring = around(camera(20, 30), 5, 0.0)
    if shift is not None:
        ring = ring._replace(shift=torch.tensor([shift] * 5, dtype=torch.float64))
    points = torch.rand(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    moved = withdrawn(ring, points)
    homogeneous = torch.cat([points, torch.ones(200, 1, dtype=torch.float64)], 1)
    clip = torch.einsum("bij,nj->bni", world_to_clip(moved, 0.1, 10.0), homogeneous)
    outermost = (clip[..., :2] / clip[..., 3:]).abs().max()
    torch.testing.assert_close(outermost, torch.ones_like(outermost))
    back = torch.einsum("bi,bi->b", (moved.c2w - ring.c2w)[:, :3, 3], ring.c2w[:, :3, 2])
    assert back.min() > 0.1 and torch.allclose(back, back[:1].expand(5))
    assert torch.equal(moved.c2w[:, :3, :3], ring.c2w[:, :3, :3])


def test_cameras_that_see_everything_stay() -> None:
    ring = around(camera(20, 30), 5, 0.0)
    assert torch.equal(withdrawn(ring, 0.1 * torch.eye(3, dtype=torch.float64)).c2w, ring.c2w)
