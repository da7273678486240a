"""Posed pictures of a mesh: cameras all around, windows that are crops, a stream by the step's number."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from threestudio_like.data.cameras import Pose
from threestudio_like.data.draw import Light, draw
from threestudio_like.data.posed import Cameras, PosedViews, bounds, spiral
from threestudio_like.ops.camera import chosen, rays, spherical

CONFIGS = Path(__file__).parents[2] / "configs"
CAMERAS = Cameras(train=12, test=4, elevation=[-30.0, 60.0], distance=2.0, fov_y=45.0)


def module(**changes) -> PosedViews:
    settings = dict(
        object="shapes/torus",
        dataset=None,
        cameras=CAMERAS,
        light=Light([0.6, 0.0, 0.8], 0.4, 0.6),
        pose=Pose(30.0, 20.0, 2.0, 45.0),
        size=32,
        batch_size=6,
        window=None,
        focus=0.5,
        seed=0,
    )
    return PosedViews(**(settings | changes))


@pytest.fixture(scope="module")
def whole():
    return module()


def test_cameras_cover_the_sphere_between_two_elevations_and_test_ones_stand_elsewhere(whole):
    train, test = (view.camera for view in whole.views)
    assert (len(train.c2w), len(test.c2w)) == (12, 4)
    azimuth, elevation, distance = spherical(train)
    torch.testing.assert_close(distance, torch.full((12,), 2.0))
    assert math.radians(-30) < elevation.min() < math.radians(-20) < math.radians(45) < elevation.max()
    apart = torch.linalg.vector_norm(train.c2w[:, None, :3, 3] - test.c2w[None, :, :3, 3], dim=-1)
    assert apart.min() > 0.2
    many = spiral(CAMERAS._replace(elevation=[-90.0, 90.0]), 1000, 0, 8).c2w[:, :3, 2]
    torch.testing.assert_close(many.mean(0), torch.zeros(3), atol=1e-2, rtol=0)
    torch.testing.assert_close(many.T @ many / 1000, torch.eye(3) / 3, atol=1e-2, rtol=0)


def test_pictures_are_of_the_object_from_their_cameras(whole):
    seen = whole.views[0]
    again = draw(whole.truth, chosen(seen.camera, torch.tensor([5])), whole.light)
    assert torch.equal(again.rgb[0], seen.rgb[5]) and torch.equal(again.alpha[0], seen.alpha[5])
    assert 0.1 < seen.alpha.mean() < 0.5


def test_a_step_sees_the_same_whenever_it_is_asked(whole):
    first, again, other = whole.batch(3, 0), module().batch(3, 0), whole.batch(4, 0)
    assert first.step == 3 and torch.equal(first.view.rgb, again.view.rgb)
    assert not torch.equal(first.view.camera.c2w, other.view.camera.c2w)
    assert len(first.view.rgb) == len(first.view.camera.c2w.unique(dim=0)) == 6
    assert torch.equal(first.unseen.rgb, whole.unseen.rgb[:2])


def test_unseen_pictures_are_not_among_those_that_others_may_use(whole):
    assert whole.pictures is whole.views[0]
    assert not (whole.pictures.camera.c2w[:, None] == whole.unseen.camera.c2w).all(-1).all(-1).any()


def test_windows_are_crops_of_the_pictures(whole):
    data = module(window=8)
    view = data.batch(0, 0).view
    assert view.rgb.shape == (6, 8, 8, 3) and view.camera.height == view.camera.width == 8
    full = rays(data.views[0].camera).directions
    for i, directions in enumerate(rays(view.camera).directions):
        which = (data.views[0].camera.c2w == view.camera.c2w[i]).all(-1).all(-1).nonzero().item()
        place = ((full[which] - directions[0, 0]).norm(dim=-1) < 1e-5).nonzero()[0].tolist()
        top, left = place
        torch.testing.assert_close(full[which, top : top + 8, left : left + 8], directions, atol=1e-5, rtol=0)
        assert torch.equal(view.rgb[i], data.views[0].rgb[which, top : top + 8, left : left + 8])


@pytest.mark.parametrize(("focus", "low", "high"), [(1.0, 0.3, 0.8), (0.0, 0.05, 0.3)])
def test_focus_puts_windows_where_the_object_is(focus, low, high):
    data = module(window=8, focus=focus, cameras=CAMERAS._replace(distance=4.0))
    share = torch.stack([data.batch(step, 0).view.alpha.mean() for step in range(40)]).mean()
    assert low < share < high


def test_windows_reach_every_pixel():
    data = module(window=8, batch_size=12, focus=0.5)
    top, left = (torch.cat(c) for c in zip(*(corners(data, step) for step in range(200)), strict=True))
    for side in (top, left):
        assert side.min() == 0 and side.max() == 24


def corners(data, step):
    return data.corners(np.random.default_rng(step), torch.arange(12))


def test_bounds_of_nothing_are_everything():
    assert bounds(torch.zeros(4, 6)).tolist() == [[0, 0], [3, 5]]
    spot = torch.zeros(4, 6)
    spot[1, 2], spot[2, 4] = 0.5, 1.0
    assert bounds(spot).tolist() == [[1, 2], [2, 4]]


def test_the_reference_is_the_picture_from_its_pose(whole):
    view = whole.reference(24)
    azimuth, elevation, _ = spherical(view.camera)
    assert (azimuth.rad2deg().item(), elevation.rad2deg().item()) == pytest.approx((30.0, 20.0), abs=1e-3)
    assert view.rgb.shape == (1, 24, 24, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "lego"}, "one of the two"),
        ({"object": None}, "one of the two"),
        ({"batch_size": 13}, "batch_size: 13 of 12"),
        ({"window": 64}, "window: 64"),
        ({"object": "shapes/torsu"}, "did you mean"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        module(**changes).prepare()


def test_the_configuration_names_the_constructor_s_arguments():
    keys = set(yaml.safe_load((CONFIGS / "data" / "posed.yaml").read_text())) - {"_target_"}
    assert keys == set(PosedViews.__init__.__annotations__) - {"return"}
