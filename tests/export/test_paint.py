"""Pictures of a coloured thing, painted on a grey one of its shape, give its colours where they see it."""

import pytest
import torch
import torch.nn.functional as F
import trimesh

from threestudio_like.export.draw import draw, over_white
from threestudio_like.export.paint import painted, seen
from threestudio_like.export.unwrap import unwrapped
from threestudio_like.metrics.image import psnr
from threestudio_like.ops.camera import orbit
from threestudio_like.ops.raster import interpolate
from threestudio_like.ops.uv import texels
from threestudio_like.records import Camera, Mesh, View

GREY = torch.full((256, 256, 3), 0.5)


def cameras(azimuths: list[float], side: int = 128) -> Camera:
    azimuth = torch.tensor(azimuths)
    return orbit(
        azimuth=azimuth,
        elevation=0.4 * torch.cos(3 * azimuth),
        distance=2.2 + 0 * azimuth,
        fov_y=0.6 + 0 * azimuth,
        height=side,
        width=side,
    )


@pytest.fixture(scope="module")
def coloured() -> Mesh:
    """A ball with a gentle pattern."""
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.5)
    mesh = Mesh(torch.tensor(ball.vertices, dtype=torch.float32), torch.tensor(ball.faces))
    mesh = unwrapped(mesh, size=256, padding=3, smoothing=10)
    place = interpolate(mesh.vertices, texels(mesh.uv, mesh.uv_faces, 256, 256), mesh.faces)[0]
    return mesh._replace(texture=0.5 + 0.4 * torch.sin(6 * place + torch.tensor([0.0, 1.0, 2.0])))


def test_pictures_all_around_give_the_colours_from_anywhere(coloured):
    views = draw(coloured, cameras([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), 2)
    found = painted(coloured._replace(texture=GREY), views, padding=3, sharpness=4.0)
    new = cameras([0.5, 2.6, 4.4])
    before, after = (
        psnr(over_white(draw(m, new, 2)), over_white(draw(coloured, new, 2)))
        for m in (coloured._replace(texture=GREY), found)
    )
    assert before.max() < 20 and after.min() > 30


def test_what_no_picture_sees_stays_as_it_was(coloured):
    views = draw(coloured, cameras([0.0]), 2)
    found = painted(coloured._replace(texture=GREY), views, padding=3, sharpness=4.0)
    front, back = draw(found, cameras([0.0]), 2), draw(found, cameras([torch.pi]), 1)
    middle = slice(44, 84)
    assert psnr(front.rgb[:, middle, middle], views.rgb[:, middle, middle]).min() > 35
    hit = back.alpha[0, ..., 0] == 1
    hit[:36] = hit[-36:] = hit[:, :36] = hit[:, -36:] = False
    assert torch.allclose(back.rgb[0][hit], torch.tensor(0.5))


def test_where_a_picture_is_clear_it_says_nothing(coloured):
    views = draw(coloured, cameras([0.0]), 2)
    grey = coloured._replace(texture=GREY)
    found = painted(grey, views._replace(alpha=torch.zeros_like(views.alpha)), padding=3, sharpness=4.0)
    assert torch.allclose(found.texture, GREY, atol=1e-6)


def test_what_stands_before_a_point_hides_it_and_points_out_of_the_picture_are_not_seen():
    """A wall at x = -1/2 and a smaller plate before it at x = 1/2, seen from +x."""
    square = torch.tensor([[0.0, -1.0, -1.0], [0.0, 1.0, -1.0], [0.0, 1.0, 1.0], [0.0, -1.0, 1.0]])
    pair = torch.tensor([[0, 1, 2], [0, 2, 3]])
    shift = torch.tensor([0.5, 0.0, 0.0])
    mesh = Mesh(torch.cat([2 * square - shift, 0.3 * square + shift]), torch.cat([pair, pair + 4]))
    zero = torch.zeros(1)
    camera = orbit(azimuth=zero, elevation=zero, distance=zero + 2, fov_y=zero + 0.8, height=64, width=80)
    y = torch.tensor([0.0, 0.45, 0.9, -0.9, 3.0, 0.0, 0.0])
    x = torch.tensor([-0.5, -0.5, -0.5, -0.5, -0.5, 0.5, 2.5])
    points = torch.stack([x, y, torch.zeros(7)], dim=-1)  # the last one is behind the camera
    found = seen(mesh, camera, points, F.pad(torch.ones(7, 1), (0, 2)))
    # the plate's shadow on the wall reaches to .3 * 2.5 / 1.5 = .5
    assert (found.cosine > 0).tolist() == [False, False, True, True, False, True, False]
    assert torch.allclose(found.where[5], torch.tensor([0.5, 0.5]))
    assert found.where[2, 0] > 0.5 > found.where[3, 0]  # +y is to the right, seen from +x
    assert torch.allclose(found.cosine[2], F.normalize(camera.c2w[0, :3, 3] - points[2], dim=0)[0])


def test_a_slanted_surface_does_not_hide_itself(coloured):
    """All of a ball's front but its rim is seen."""
    camera = cameras([0.7])
    normals = F.normalize(coloured.vertices, dim=-1)
    toward = (F.normalize(camera.c2w[0, :3, 3] - coloured.vertices, dim=-1) * normals).sum(-1)
    found = seen(coloured, camera, coloured.vertices, normals)
    assert ((found.cosine > 0) == (toward > 0))[toward.abs() > 0.15].all()


def test_only_pictures_are_read(coloured):
    """Neither their depth nor their normals."""
    views = draw(coloured, cameras([0.0, 2.0]), 2)
    plain = View(views.camera, views.rgb, views.alpha)
    one, two = (painted(coloured, v, padding=3, sharpness=4.0).texture for v in (views, plain))
    assert torch.equal(one, two)
