"""Outlines of one object agree with its hull; those of several do not."""

import math

import pytest
import torch

from threestudio_like.data.draw import Light, draw
from threestudio_like.data.shapes import mesh, single
from threestudio_like.metrics.sweep import hull_iou, neighbour_psnr, pixels
from threestudio_like.ops.camera import around, orbit, rays
from threestudio_like.records import Camera

RULER = {"reach": 0.55, "resolution": 48}


def ring(count: int, side: int = 32) -> Camera:
    one = torch.ones(1)
    start = orbit(
        azimuth=0.3 * one,
        elevation=0.4 * one,
        distance=1.6 * one,
        fov_y=math.radians(49.134) * one,
        height=side,
        width=side,
    )
    return around(start, count, 0.0)


def masks(kind: str, camera: Camera) -> torch.Tensor:
    return draw(mesh(single(kind)), camera, Light([0.0, 0.0, 1.0], 1.0, 0.0)).alpha


def test_points_on_a_pixels_ray_fall_in_it():
    camera = ring(3, side=8)
    origins, directions = rays(camera)
    points = (origins + 1.2 * directions)[1].reshape(-1, 3)
    index, seen = pixels(points, camera)
    assert torch.equal(index[1], torch.arange(64)) and seen[1].all()
    behind = origins[1, 0, 0] - directions[1, 4, 4]
    assert not pixels(behind[None], camera)[1][1].item()


def test_outlines_of_one_object_agree():
    camera = ring(12)
    assert hull_iou(masks("torus", camera), camera, **RULER).min() > 0.9


def test_outlines_of_two_objects_do_not():
    camera = ring(12)
    mixed = masks("torus", camera)
    mixed[::2] = 0
    mixed[::2, 4:12, 12:20] = 1  # something small, high above the middle
    found = hull_iou(mixed, camera, **RULER)
    assert found[1::2].max() < 0.5


def test_one_that_is_empty_empties_all():
    camera = ring(4)
    outlines = masks("box", camera)
    outlines[0] = 0
    found = hull_iou(outlines, camera, **RULER)
    assert found[0] == 1 and found[1:].max() < 0.1  # what the empty one does not see is left


def test_neighbours_go_round():
    pictures = torch.zeros(3, 2, 2, 3)
    pictures[2] = 0.1
    assert neighbour_psnr(pictures).tolist() == pytest.approx([math.inf, 20.0, 20.0], abs=1e-4)
