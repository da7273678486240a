"""Shape metrics against closed forms: spheres and cubes whose overlap and distance are known."""

import math

import pytest
import torch

from threestudio_like.metrics import shape
from threestudio_like.ops.isosurface import lattice, marching_tets
from threestudio_like.records import Mesh

REACH, VIEWS = 0.5, 32


def sphere(radius: float) -> Mesh:
    """A closed sphere around the origin."""
    grid = lattice(32)
    places = grid.vertices * REACH
    return Mesh(*marching_tets(places, places.norm(dim=-1) - radius, grid))


def cube(center: tuple[float, float, float], half: float, lid: bool = True) -> Mesh:
    """A cube, with or without its upper face; every second face is wound inward."""
    corners = torch.cartesian_prod(*[torch.tensor([-half, half])] * 3) + torch.tensor(center)
    quads = [(0, 1, 3, 2), (4, 5, 7, 6), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    kept = quads if lid else quads[:-1]
    return Mesh(corners, torch.tensor([t for a, b, c, d in kept for t in ((a, b, c), (a, c, d))]))


def solid(mesh: Mesh, resolution: int = 64) -> torch.Tensor:
    return shape.occupancy(shape.depths(mesh, REACH, VIEWS), REACH, resolution)


def test_the_volume_of_a_sphere_is_that_of_its_radius():
    filled = solid(sphere(0.4)).float().mean() * (2 * REACH) ** 3
    assert float(filled) == pytest.approx(4 / 3 * math.pi * 0.4**3, rel=0.03)


def test_iou_of_concentric_spheres_is_the_cube_of_the_ratio():
    assert shape.volume_iou(solid(sphere(0.3)), solid(sphere(0.4))) == pytest.approx((3 / 4) ** 3, abs=0.015)


def test_iou_of_shifted_cubes_whatever_their_winding():
    one, other = cube((0.0, 0.0, 0.0), 0.25), cube((0.0, 0.125, 0.0), 0.25)  # they share 3/4: 3 / 5
    assert shape.volume_iou(solid(one), solid(other)) == pytest.approx(3 / 5, abs=0.02)
    assert shape.volume_iou(solid(one), solid(one)) == 1.0


def test_what_is_seen_through_an_opening_is_outside_and_a_closed_hollow_is_inside():
    middle = (32, 32, 40)
    assert bool(solid(cube((0.0, 0.0, 0.0), 0.3))[middle])
    opened = solid(cube((0.0, 0.0, 0.0), 0.3, lid=False))
    assert not bool(opened[middle])
    assert not opened[0].any()


def test_the_volume_of_a_sheet_is_next_to_nothing():
    sheet = Mesh(
        torch.tensor([[-0.4, -0.4, 0.0], [0.4, -0.4, 0.0], [0.0, 0.4, 0.0]]), torch.tensor([[0, 1, 2]])
    )
    assert float(solid(sheet).float().mean()) < 1e-3


def test_chamfer_of_concentric_spheres_is_the_difference_of_their_radii():
    points = []
    for radius in (0.3, 0.4):
        mesh = sphere(radius)
        points.append(shape.surface_points(mesh, shape.depths(mesh, REACH, VIEWS), 4000, seed=0))
    assert shape.chamfer(*points) == pytest.approx(0.1, abs=0.003)


def test_chamfer_of_two_points_is_their_distance_not_its_square():
    one, other = torch.zeros(1, 3), torch.tensor([[0.0, 0.3, 0.4], [0.0, 0.0, 2.0]])
    assert shape.chamfer(one, other) == pytest.approx((0.5 + (0.5 + 2.0) / 2) / 2)


def test_surface_points_lie_on_the_seen_surface_in_proportion_to_area():
    inner, outer = cube((0.0, 0.0, 0.0), 0.2), cube((0.0, 0.0, 0.0), 0.4)
    both = Mesh(torch.cat([inner.vertices, outer.vertices]), torch.cat([inner.faces, outer.faces + 8]))
    points = shape.surface_points(both, shape.depths(both, REACH, VIEWS), 6000, seed=1)
    assert torch.allclose(points.abs().amax(-1), torch.tensor(0.4), atol=1e-5)  # the inner cube is hidden
    assert len(points) == pytest.approx(6000 * 0.8, rel=0.05)  # its area is a fifth
    upper = (points[:, 2] > 0.4 - 1e-5).float().mean()
    assert float(upper) == pytest.approx(1 / 6, abs=0.02)


def test_normal_error_is_the_angle_where_both_are_known():
    angle = math.radians(30)
    one = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    other = torch.tensor([[[0.0, math.sin(angle), math.cos(angle)], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]])
    assert shape.normal_error_deg(one, other) == pytest.approx(15.0, abs=1e-4)
    assert math.isnan(shape.normal_error_deg(one[:, 1:2], other[:, 1:2]))


def test_the_core_of_a_block_is_the_block_without_its_skin():
    block = torch.zeros(12, 12, 12, dtype=torch.bool)
    block[1:11, 1:11, 1:9] = True
    assert shape.core(block) == 8 * 8 * 6 / (10 * 10 * 8)
    assert shape.core(torch.zeros_like(block)) == 0


def test_a_ball_is_solid_and_a_plate_is_not():
    solid = shape.Solid(directions=16, reach=0.5, resolution=32, least=0.4)
    assert solid(sphere(0.4))
    plate = cube((0.0, 0.0, 0.0), 0.4)
    assert solid(plate)
    assert not solid(plate._replace(vertices=plate.vertices * torch.tensor([1.0, 1.0, 0.1])))
