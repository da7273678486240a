"""Gaussians as a geometry: the ball at first, colours, files, the surface, other numbers of them."""

import math

import numpy as np
import pytest
import torch
import trimesh

from threestudio_like.geometry.gaussians import DC, Gaussians
from threestudio_like.geometry.ply import packed, unpacked
from threestudio_like.material.direct import Direct
from threestudio_like.ops.mesh import signed_volume
from threestudio_like.ops.splat import rotation_matrices


def gaussians(**changes):
    settings = {"radius": 0.75, "num_features": 3, "degree": 2, "count": 50, "ball": 0.5, "opacity": 0.1}
    torch.manual_seed(0)
    return Gaussians(**settings | {"level": 0.5, "min_component": 0.1} | changes)


def varied(**changes):
    """Every number another one."""
    geometry = gaussians(**changes)
    with torch.no_grad():
        for parameter in geometry.parameters():
            parameter.add_(torch.randn_like(parameter))
    return geometry


def shell(count=1500, radius=0.4):
    """A sphere covered by Gaussians, red where z > 0."""
    turn = torch.arange(count) * math.pi * (3 - math.sqrt(5))
    z = 1 - (2 * torch.arange(count) + 1) / count
    points = torch.stack([(1 - z * z).sqrt() * turn.cos(), (1 - z * z).sqrt() * turn.sin(), z], dim=-1)
    features = torch.tensor([-0.5, -0.5, 0.5]) + (z > 0)[:, None] * torch.tensor([1.0, 0.0, -1.0])
    geometry = gaussians()
    geometry.place(radius * points, features)
    with torch.no_grad():
        geometry.opacity_logits.fill_(2.0)
        geometry.log_scales.fill_(math.log(0.02))
    return geometry


def test_it_is_a_grey_ball_at_first():
    geometry = gaussians(count=2000)
    cloud = geometry.ellipsoids()
    assert geometry.count == 2000
    distance = cloud.means.norm(dim=-1)
    assert distance.max() <= 0.5 and distance.mean().item() == pytest.approx(0.375, rel=0.03)  # 3/4 R
    torch.testing.assert_close(cloud.opacities, torch.full((2000,), 0.1))
    assert torch.equal(cloud.scales, cloud.scales[:1, :1].expand_as(cloud.scales))
    direction = torch.nn.functional.normalize(torch.randn(1, 2000, 3), dim=-1)
    assert geometry.seen(direction, 2).eq(0).all()


def test_placed_at_points():
    points = torch.tensor([[0.0, 0, 0], [0.0, 0, 0.1], [0.0, 0.1, 0], [0.0, 0.1, 0.1]])
    geometry = gaussians()
    geometry.place(points, torch.rand(4, 3) - 0.5)
    side = 0.1 * math.sqrt(4 / 3)
    torch.testing.assert_close(geometry.ellipsoids().scales, torch.full((4, 3), side))
    assert geometry.rest.shape == (4, 8, 3)


def test_colour_by_direction():
    """Up to degree 1: base + (-y, z, -x) sqrt(3 / 4 pi)."""
    geometry = varied()
    directions = torch.nn.functional.normalize(torch.randn(2, 50, 3), dim=-1)
    x, y, z = directions.unsqueeze(-1).unbind(2)
    slope = math.sqrt(3 / (4 * math.pi))
    one = geometry.rest[:, 0] * -y + geometry.rest[:, 1] * z + geometry.rest[:, 2] * -x
    expected = DC * geometry.base[:, 0] + slope * one
    torch.testing.assert_close(geometry.seen(directions, 1), expected)
    assert not torch.allclose(geometry.seen(directions, 2), expected)
    torch.testing.assert_close(geometry.seen(directions, 3), geometry.seen(directions, 2))


def test_features_are_of_the_nearest():
    geometry = shell()
    points = torch.tensor([[0.0, 0, 0.4], [0.0, 0, -0.4], [0.0, 0, 0.0]])
    expected = torch.tensor([[0.5, -0.5, -0.5], [-0.5, -0.5, 0.5], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(geometry.features(points), expected)


def test_the_surface_is_closed_filled_and_outward():
    mesh = shell().surface(32)
    solid = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)
    assert solid.is_watertight and solid.is_winding_consistent and solid.body_count == 1
    reach = mesh.vertices.norm(dim=-1)
    assert reach.min() > 0.38 and reach.max() < 0.47
    ball = 4 / 3 * math.pi * reach.mean().item() ** 3
    assert signed_volume(mesh.vertices, mesh.faces).item() == pytest.approx(ball, rel=0.02)


def test_a_surface_that_leaves_the_box_is_closed_by_it():
    mesh = shell(radius=0.72).surface(24)
    solid = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)
    assert solid.is_watertight and mesh.vertices.abs().max() <= 0.75


def test_no_surface():
    with pytest.raises(ValueError, match="no surface"):
        gaussians(level=50.0).surface(8)


def test_a_file_has_what_viewers_read_and_comes_back():
    geometry, other = varied(), gaussians(count=3)
    content = geometry.to_ply()
    assert geometry.files() == {"gaussians.ply": content}
    columns = unpacked(content)
    names = ["x", "y", "z", "nx", "ny", "nz", *[f"f_dc_{i}" for i in range(3)]]
    names += [*[f"f_rest_{i}" for i in range(24)], "opacity", "scale_0", "scale_1", "scale_2"]
    assert list(columns) == [*names, "rot_0", "rot_1", "rot_2", "rot_3"]
    # f_rest_ runs through the coefficients of one channel first: 8 is the first of green
    assert torch.equal(columns["f_rest_8"], geometry.rest[:, 0, 1].detach())
    assert torch.equal(columns["f_rest_1"], geometry.rest[:, 1, 0].detach())
    other.from_ply(content)
    for name, parameter in geometry.named_parameters():
        assert torch.equal(other.state_dict()[name], parameter), name


def test_a_file_means_to_viewers_what_it_means_to_us():
    """Read by numpy, and understood as readers of such files do: 1/2 + harmonics, exp, logistic, w x y z."""
    geometry = varied(degree=1)
    header, body = geometry.to_ply().split(b"end_header\n")
    names = [line.split()[-1].decode() for line in header.splitlines() if line.startswith(b"property")]
    table = np.frombuffer(body, [(name, "<f4") for name in names])

    def columns(prefix):
        return np.stack([table[name] for name in names if name.startswith(prefix)], axis=-1)

    cloud, sides = geometry.ellipsoids(), torch.nn.functional.normalize(torch.randn(1, 50, 3), dim=-1)
    x, y, z = sides[0].numpy()[..., None].transpose(1, 0, 2)
    first = columns("f_rest_").reshape(50, 3, 3)  # by channel, then by coefficient
    slopes = -y * first[..., 0] + z * first[..., 1] - x * first[..., 2]
    rgb = 0.5 + 0.28209479177387814 * columns("f_dc_") + 0.4886025119029199 * slopes
    ours = Direct()(geometry.seen(sides, 1)[0], None, sides[0])
    found = (ours, cloud.scales, cloud.opacities, rotation_matrices(cloud.quaternions))
    turned = np.stack([trimesh.transformations.quaternion_matrix(q)[:3, :3] for q in columns("rot_")])
    expected = rgb.clip(0, 1), np.exp(columns("scale_")), 1 / (1 + np.exp(-table["opacity"])), turned
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other, atol=1e-5)


def test_the_surface_of_one_is_an_ellipsoid():
    """o exp(-d^2 / 2) = level, d in deviations."""
    geometry = gaussians(count=2, level=0.3, opacity=0.9)
    scales, turn = torch.tensor([0.08, 0.12, 0.2]), torch.tensor([0.8, 0.2, -0.4, 0.3])
    geometry.fill(torch.tensor([[0.1, -0.05, 0.02]]), torch.zeros(1, 3), torch.tensor([0.1]))
    with torch.no_grad():
        geometry.log_scales.copy_(scales.log()[None])
        geometry.quaternions.copy_(turn[None])
    mesh = geometry.surface(48)
    away = (mesh.vertices - geometry.means.detach()) @ rotation_matrices(turn) / scales
    reach = math.sqrt(2 * math.log(0.9 / 0.3))
    torch.testing.assert_close(away.norm(dim=-1), torch.full((len(away),), reach), atol=0.02, rtol=0)
    ellipsoid = 4 / 3 * math.pi * scales.prod().item() * reach**3
    assert signed_volume(mesh.vertices, mesh.faces).item() == pytest.approx(ellipsoid, rel=0.01)


def test_a_file_of_a_lower_degree_is_filled_up():
    geometry, other = varied(degree=1), gaussians(degree=3)
    other.from_ply(geometry.to_ply())
    assert torch.equal(other.rest[:, :3], geometry.rest) and other.rest[:, 3:].eq(0).all()


def test_files_that_do_not_fit():
    content = gaussians().to_ply()
    with pytest.raises(ValueError, match="degree 1"):
        gaussians(degree=1).from_ply(content)
    columns = unpacked(content)
    del columns["rot_2"]
    with pytest.raises(ValueError, match="rot_2"):
        gaussians().from_ply(packed(columns))
    with pytest.raises(ValueError, match="3 features"):
        gaussians(num_features=4).to_ply()


def test_another_number_of_them_is_loaded():
    geometry, other = varied(count=7), gaussians(count=50)
    known = dict(other.named_parameters())
    other.load_state_dict(geometry.state_dict())
    for name, parameter in other.named_parameters():
        assert parameter is known[name] and parameter.requires_grad
        assert torch.equal(parameter, geometry.state_dict()[name])
    with pytest.raises(RuntimeError, match="rest"):
        gaussians(degree=1).load_state_dict(geometry.state_dict())


@pytest.mark.parametrize(("wrong", "complaint"), [({"degree": 4}, "degree"), ({"opacity": 1.0}, "opacity")])
def test_wrong_numbers(wrong, complaint):
    with pytest.raises(ValueError, match=complaint):
        gaussians(**wrong)
