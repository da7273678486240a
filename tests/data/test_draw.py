"""Pictures of a cube, whose outline, depth, normals and shading are known."""

import math

import pytest
import torch

from threestudio_like.data.draw import Light, draw
from threestudio_like.ops.camera import orbit
from threestudio_like.records import Camera, Mesh

QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
LIGHT = Light(direction=[0.0, 0.0, 2.0], ambient=0.3, diffuse=0.6)


def cube(half: float) -> Mesh:
    """Of one colour."""
    corners = torch.cartesian_prod(*[torch.tensor([-half, half])] * 3)
    faces = torch.tensor([t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))])
    return Mesh(corners, faces, torch.tensor([0.8, 0.4, 0.2]).expand(8, 3))


def camera(azimuth: float, elevation: float, distance: float = 2.0, size: int = 32) -> Camera:
    """One camera; degrees."""
    pose = {"azimuth": math.radians(azimuth), "elevation": math.radians(elevation), "distance": distance}
    pose["fov_y"] = math.radians(60.0)
    return orbit(**{name: torch.tensor([value]) for name, value in pose.items()}, height=size, width=size)


def test_from_the_front_a_cube_is_a_square_of_known_size_depth_normal_and_shade():
    view = draw(cube(0.5), camera(0, 0, size=128), LIGHT)
    side = 1.0 / (1.5 * 2 * math.tan(math.radians(30)))  # of the picture's
    assert float(view.alpha.mean()) == pytest.approx(side**2, abs=0.01)
    middle = view.rgb[0, 64, 64], view.depth[0, 64, 64], view.normal[0, 64, 64]
    assert torch.allclose(
        middle[0], torch.tensor([0.8, 0.4, 0.2]) * 0.6, atol=1e-5
    )  # lit from above: n . l = 0
    assert float(middle[1]) == pytest.approx(1.5, abs=1e-4)
    assert torch.allclose(middle[2], torch.tensor([1.0, 0.0, 0.0]), atol=1e-6)
    assert float(view.depth[0, 0, 0]) == 0 and float(view.normal[0, 0, 0].norm()) == 0


def test_the_outline_is_smoothed_and_its_colour_is_not():
    view = draw(cube(0.5), camera(20, 0), LIGHT)
    edge = (view.alpha > 0) & (view.alpha < 1)
    assert edge.any()
    assert torch.allclose(view.rgb[edge[..., 0]], torch.tensor([0.48, 0.24, 0.12]), atol=1e-5)


def test_the_lamp_stays_in_the_world():
    above, below = draw(cube(0.5), camera(0, 89.0), LIGHT), draw(cube(0.5), camera(0, -89.0), LIGHT)
    assert float(above.rgb[0, 16, 16, 0]) == pytest.approx(0.8 * 0.9, abs=1e-4)
    assert float(below.rgb[0, 16, 16, 0]) == pytest.approx(0.8 * 0.3, abs=1e-4)


def test_winding_does_not_matter():
    mesh, place = cube(0.4), camera(30, 20)
    view, other = draw(mesh, place, LIGHT), draw(mesh._replace(faces=mesh.faces.flip(1)), place, LIGHT)
    assert torch.allclose(view.rgb, other.rgb, atol=1e-6) and torch.allclose(
        view.normal, other.normal, atol=1e-6
    )


def test_what_is_on_the_left_of_the_picture_and_at_its_top():
    marked = cube(0.3)
    marked = marked._replace(vertices=marked.vertices + torch.tensor([0.0, 0.2, 0.25]))
    alpha = draw(marked, camera(0, 0), LIGHT).alpha[0, :, :, 0]  # from +x, +y is on the right
    assert alpha[:, 16:].sum() > 2 * alpha[:, :16].sum()
    assert alpha[:16].sum() > 2 * alpha[16:].sum()


def test_a_mesh_without_colours_is_refused():
    with pytest.raises(ValueError, match="no colours"):
        draw(cube(0.5)._replace(rgb=None), camera(0, 0), LIGHT)
