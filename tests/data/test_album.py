"""Albums: where the cameras stand, how copies are stretched, and what is kept on disk."""

import numpy as np
import pytest
import torch

from threestudio_like.data.album import Cameras, Variety, album, camera, poses, stretched
from threestudio_like.data.draw import Light, draw
from threestudio_like.data.objects import Object
from threestudio_like.data.shapes import mesh, shape
from threestudio_like.metrics.image import mask_iou
from threestudio_like.ops.camera import spherical

CAMERAS = Cameras(fov_y=49.134, distance=[1.4, 1.9], elevation=[-10.0, 60.0], size=32)
LIGHT = Light(direction=[0.6, 0.0, 0.8], ambient=0.4, diffuse=0.6)
VARIETY = Variety(variants=2, views=3, stretch=1.3, seed=0)


def test_random_poses_fill_their_ranges():
    sample = poses(np.random.default_rng(0), 4000, CAMERAS)
    azimuth, elevation, distance = spherical(camera(sample, CAMERAS))
    assert torch.allclose(torch.stack([azimuth, elevation, distance], -1), sample, atol=1e-3)
    assert elevation.rad2deg().min() > -10.01 and elevation.rad2deg().max() < 60.01
    assert distance.min() >= 1.399 and distance.max() <= 1.901
    upper = (torch.sin(elevation) > (np.sin(np.radians(60)) + np.sin(np.radians(-10))) / 2).float().mean()
    assert float(upper) == pytest.approx(0.5, abs=0.03)
    assert float(azimuth.mean().abs()) < 0.1


def test_stretched_meshes_keep_their_longest_side_and_differ():
    figure = mesh(shape(0, 1))
    rng = np.random.default_rng(0)
    one, other = stretched(figure, rng, 1.3), stretched(figure, rng, 1.3)
    for made in (one, other):
        extent = made.vertices.amax(0) - made.vertices.amin(0)
        assert float(extent.max()) == pytest.approx(1.0, abs=1e-5)
        assert torch.allclose(made.vertices.amax(0), -made.vertices.amin(0), atol=1e-5)
    place = camera(torch.tensor([[0.5, 0.3, 1.6]]), CAMERAS)
    overlap = mask_iou(draw(one, place, LIGHT).alpha, draw(other, place, LIGHT).alpha)
    assert float(overlap) < 0.99


def test_another_variety_or_another_source_is_another_album(tmp_path):
    objects = [Object("a", mesh(shape(0, 0)))]
    one = album(objects, CAMERAS, VARIETY, LIGHT, folder=tmp_path, source="first")
    assert (
        one.pictures.shape == (2, 3, 32, 32, 4) and one.names == ["a", "a"] and one.poses.shape == (2, 3, 3)
    )
    album(objects, CAMERAS, VARIETY, LIGHT, folder=tmp_path, source="first")
    assert len(list(tmp_path.iterdir())) == 1
    album(objects, CAMERAS, VARIETY._replace(seed=1), LIGHT, folder=tmp_path, source="first")
    album(objects, CAMERAS, VARIETY, LIGHT, folder=tmp_path, source="second")
    assert len(list(tmp_path.iterdir())) == 3


def test_what_hardly_shows_is_left_out_and_an_album_of_nothing_else_is_refused(tmp_path):
    figure = mesh(shape(0, 0))
    needle = figure._replace(vertices=figure.vertices * torch.tensor([1.0, 0.01, 0.01]))
    made = album(
        [Object("needle", needle), Object("figure", figure)],
        CAMERAS,
        VARIETY._replace(stretch=1.0),
        LIGHT,
        folder=tmp_path,
        source="both",
    )
    assert [made.names[row] for row in made.rows] == ["figure", "figure"]
    with pytest.raises(ValueError, match="too thin"):
        album([Object("needle", needle)], CAMERAS, VARIETY, LIGHT, folder=tmp_path, source="needle")
