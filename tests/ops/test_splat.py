"""Gaussians in pictures: closed forms, a loop over pixels, finite differences, invariances."""

import math

import pytest
import torch

from threestudio_like.ops import splat
from threestudio_like.ops.camera import crop, orbit
from threestudio_like.records import Footprints

pytestmark = pytest.mark.usefixtures("either")

SIDE = 64
FOCAL = 70.0
UPRIGHT = [1.0, 0.0, 0.0, 0.0]


def front(num_views=1, dtype=torch.float32, side=SIDE, distance=2.0):
    """Cameras around the z axis, the first on +x, of focal length 70 px."""
    return orbit(
        azimuth=torch.arange(num_views, dtype=dtype),
        elevation=torch.linspace(0.0, 0.6, num_views, dtype=dtype),
        distance=torch.full((num_views,), distance, dtype=dtype),
        fov_y=torch.full((num_views,), 2 * math.atan(0.5 * side / FOCAL), dtype=dtype),
        height=side,
        width=side,
    )


def cloud(count, seed=0, dtype=torch.float32, size=0.1):
    """Means, scales, quaternions, opacities."""
    torch.manual_seed(seed)
    means = (torch.rand(count, 3, dtype=dtype) - 0.5) * 0.8
    scales = size * (0.3 + torch.rand(count, 3, dtype=dtype))
    return means, scales, torch.randn(count, 4, dtype=dtype), 0.2 + 0.7 * torch.rand(count, dtype=dtype)


def drawn(means, scales, quaternions, opacities, values, camera):
    prints = splat.project(means, scales, quaternions, camera, 0.2)
    values = values.expand(len(camera.c2w), -1, -1)
    return splat.blend(prints, opacities, values, camera.height, camera.width)


def test_one_ball_from_the_front():
    """sigma^2 = (f r / z)^2 + .3; the peak is o, the sum 2 pi o sigma^2 less what is under 1/255."""
    prints = splat.project(torch.zeros(1, 3), torch.full((1, 3), 0.05), torch.tensor([UPRIGHT]), front(), 0.2)
    torch.testing.assert_close(prints.spreads.square(), torch.full((1, 1, 2), 3.3625))
    torch.testing.assert_close(prints.conics[0, 0], torch.tensor([1 / 3.3625, 0.0, 1 / 3.3625]))
    torch.testing.assert_close(prints.centers[0, 0], torch.tensor([32.0, 32.0]))
    torch.testing.assert_close(prints.depths, torch.tensor([[2.0]]))
    sums, alpha = splat.blend(prints, torch.tensor([0.9]), torch.full((1, 1, 1), 3.0), SIDE, SIDE)
    assert alpha.sum().item() == pytest.approx(18.953, abs=1e-3)
    assert 2 * math.pi * 0.9 * 3.3625 == pytest.approx(19.015, abs=1e-3)
    assert alpha.max().item() == pytest.approx(0.9 * math.exp(-0.25 / 3.3625), rel=1e-5)  # half a pixel off
    torch.testing.assert_close(sums, 3 * alpha)
    moved = prints._replace(centers=prints.centers + 0.5)
    peak = splat.blend(moved, torch.tensor([0.9]), torch.ones(1, 1, 1), SIDE, SIDE)[1].max()
    assert peak.item() == pytest.approx(0.9, rel=1e-6)


def test_a_thin_gaussian_lies_where_its_axes_point():
    """Long along its own x, turned by 30 degrees around the viewing axis."""
    half = math.radians(30) / 2
    turned = torch.tensor([[math.cos(half), math.sin(half), 0.0, 0.0]])  # around +x, where the camera is
    scales = torch.tensor([[0.01, 0.2, 0.01]])  # its y is to the right
    prints = splat.project(torch.zeros(1, 3), scales, turned, front(), 0.2)
    xx, xy, yy = prints.conics[0, 0].tolist()
    covariance = torch.linalg.inv(torch.tensor([[xx, xy], [xy, yy]]))
    values, vectors = torch.linalg.eigh(covariance)
    torch.testing.assert_close(values, torch.tensor([0.35**2, 7.0**2]) + 0.3, rtol=1e-4, atol=0)
    long = vectors[:, 1] * vectors[0, 1].sign()
    torch.testing.assert_close(long, torch.tensor([math.cos(2 * half), -math.sin(2 * half)]))  # y runs down
    torch.testing.assert_close(prints.spreads[0, 0].square(), covariance.diagonal(), rtol=1e-4, atol=0)


def test_the_jacobian_is_the_perspective_s():
    """Well inside the picture: J from finite differences of the projected mean."""
    means, scales, quaternions, _ = cloud(5, dtype=torch.float64)
    camera = front(2, torch.float64)

    def centers(points):
        return splat.project(points, scales, quaternions, camera, 0.2).centers

    slopes = torch.autograd.functional.jacobian(centers, means).diagonal(dim1=1, dim2=3).movedim(-1, 1)
    axes = splat.rotation_matrices(quaternions) * scales[:, None]
    seen = slopes @ axes
    covariance = seen @ seen.mT + 0.3 * torch.eye(2, dtype=torch.float64)
    xx, xy, yy = splat.project(means, scales, quaternions, camera, 0.2).conics.unbind(-1)
    conic = torch.stack([xx, xy, xy, yy], dim=-1).unflatten(-1, (2, 2))
    torch.testing.assert_close(conic @ covariance, torch.eye(2, dtype=torch.float64).expand(2, 5, 2, 2))


def test_rotations():
    q = torch.randn(20, 4, dtype=torch.float64)
    r = splat.rotation_matrices(q)
    torch.testing.assert_close(r @ r.mT, torch.eye(3, dtype=torch.float64).expand(20, 3, 3))
    torch.testing.assert_close(torch.linalg.det(r), torch.ones(20, dtype=torch.float64))
    torch.testing.assert_close(splat.rotation_matrices(-2 * q), r)
    turn = splat.rotation_matrices(torch.tensor([1.0, 0.0, 0.0, 1.0]))  # a quarter around z
    torch.testing.assert_close(turn @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)


def test_what_cannot_be_seen_has_no_spread():
    means = torch.tensor([[0.0, 0, 0], [1.85, 0, 0], [3.0, 0, 0], [0.0, 1.2, 0], [0.0, 0.95, 0]])
    scales = torch.full((5, 3), 0.02)
    prints = splat.project(means, scales, torch.tensor([UPRIGHT] * 5), front(), 0.2)
    # in the middle; nearer than `near`; behind; beside; its rim just inside
    assert (prints.spreads > 0).all(-1).tolist() == [[True, False, False, False, True]]
    assert all(part.isfinite().all() for part in prints)


def test_no_gradient_is_lost_behind_the_camera():
    means = torch.tensor([[0.0, 0, 0], [2.0, 0, 0]], requires_grad=True)
    values = torch.ones(1, 2, 1)
    scales, quaternions = torch.full((2, 3), 0.1), torch.tensor([UPRIGHT] * 2)
    sums, _ = drawn(means, scales, quaternions, torch.tensor([0.5, 0.5]), values, front())
    (sums * torch.linspace(0, 1, SIDE)[:, None]).sum().backward()
    assert means.grad.isfinite().all()
    assert means.grad[0].abs().max() > 0 and means.grad[1].abs().max() == 0


def test_beyond_the_picture_the_jacobian_is_held():
    """At x / z of 1.3 half fields of view; the mean itself goes on."""
    tangent = 0.5 * SIDE / FOCAL
    places = torch.tensor([1.29, 1.31, 2.0]) * tangent * 2.0
    means = torch.stack([torch.zeros(3), places, torch.zeros(3)], dim=-1)
    prints = splat.project(means, torch.full((3, 3), 0.3), torch.tensor([UPRIGHT] * 3), front(), 0.2)
    assert prints.conics[0, 0, 0] > prints.conics[0, 1, 0]
    torch.testing.assert_close(prints.conics[0, 1], prints.conics[0, 2])
    torch.testing.assert_close(prints.centers[0, :, 0], 32 + FOCAL * places / 2)


def brute_force(prints, opacities, values, height, width):
    """One pixel after the other, one Gaussian after the other."""
    sums, alpha = torch.zeros(height, width, values.shape[-1]), torch.zeros(height, width, 1)
    depths = prints.depths[0].tolist()
    order = sorted(range(len(depths)), key=lambda i: depths[i])
    for row in range(height):
        for column in range(width):
            through = 1.0
            for i in order:
                if prints.spreads[0, i, 0] == 0:
                    continue
                x, y = column + 0.5 - prints.centers[0, i, 0], row + 0.5 - prints.centers[0, i, 1]
                xx, xy, yy = prints.conics[0, i]
                a = float(opacities[i] * torch.exp(-0.5 * (xx * x * x + yy * y * y) - xy * x * y))
                a = min(a, 0.99)
                if a < 1 / 255:
                    continue
                if through * (1 - a) < 1e-4:
                    break
                sums[row, column] += through * a * values[0, i]
                through *= 1 - a
            alpha[row, column] = 1 - through
    return sums, alpha


def test_a_loop_over_pixels_says_the_same():
    camera = crop(front(), 22, 22, 17, 21)  # neither a multiple of a tile, nor centred
    means, scales, quaternions, opacities = cloud(60, seed=3)
    opacities[:20] = 0.999
    values = torch.rand(1, 60, 3)
    prints = splat.project(means, scales, quaternions, camera, 0.2)
    sums, alpha = splat.blend(prints, opacities, values, 17, 21)
    expected_sums, expected_alpha = brute_force(prints, opacities, values, 17, 21)
    assert expected_alpha.max() > 0.999 and expected_alpha.min() < 0.9  # some pixels end early
    torch.testing.assert_close(sums[0], expected_sums, atol=1e-5, rtol=0)
    torch.testing.assert_close(alpha[0], expected_alpha, atol=1e-5, rtol=0)


def stacked(opacities):
    """One pixel that looks at flat Gaussians one behind the other: its alpha."""
    count = len(opacities)
    conics = torch.tensor([1.0, 0.0, 1.0]).expand(1, count, 3)
    depths = torch.arange(1.0, 1.0 + count)[None]
    prints = Footprints(torch.full((1, count, 2), 0.5), conics, depths, torch.ones(1, count, 2))
    return splat.blend(prints, torch.tensor(opacities), torch.ones(1, count, 1), 1, 1)[1].item()


def test_alphas_multiply():
    assert stacked([0.3, 0.6]) == pytest.approx(1 - 0.7 * 0.4)


def test_the_conventions_of_opacity():
    assert stacked([1.0]) == pytest.approx(0.99)  # never opaque
    assert stacked([0.99 / 255]) == 0.0  # never fainter than 1/255
    assert stacked([0.99, 0.98]) == pytest.approx(1 - 0.01 * 0.02)
    # the third would leave 5e-5: it is not drawn, nor is what is behind it, which would leave 2.5e-4
    assert stacked([0.99, 0.95, 0.9, 0.5]) == pytest.approx(1 - 0.01 * 0.05)


def test_the_order_of_storage_does_not_matter():
    *parts, opacities = cloud(200, seed=1)
    values, mixed = torch.rand(1, 200, 3), torch.randperm(200)
    one = drawn(*parts, opacities, values, front(2))
    other = drawn(*(part[mixed] for part in parts), opacities[mixed], values[:, mixed], front(2))
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b)


def test_scene_and_camera_moved_together_show_the_same():
    means, scales, quaternions, opacities = cloud(100, seed=2, dtype=torch.float64)
    values, camera = torch.rand(1, 100, 3, dtype=torch.float64), front(2, torch.float64)
    turn = torch.randn(4, dtype=torch.float64)
    rotation, shift = splat.rotation_matrices(turn), torch.randn(3, dtype=torch.float64)
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3], motion[:3, 3] = rotation, shift
    moved = camera._replace(c2w=motion @ camera.c2w)
    w, v = turn[0], turn[1:].expand(100, 3)
    scalar = w * quaternions[:, :1] - (v * quaternions[:, 1:]).sum(-1, keepdim=True)
    vector = w * quaternions[:, 1:] + quaternions[:, :1] * v + torch.linalg.cross(v, quaternions[:, 1:])
    turned = torch.cat([scalar, vector], dim=-1)  # the product of quaternions
    one = drawn(means, scales, quaternions, opacities, values, camera)
    other = drawn(means @ rotation.T + shift, scales, -turned, opacities, values, moved)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b)


def test_an_empty_cloud_is_nothing():
    means, scales, quaternions, opacities = (part[:0] for part in cloud(1))
    sums, alpha = drawn(means, scales, quaternions, opacities, torch.ones(1, 0, 3), front(2))
    assert sums.shape == (2, SIDE, SIDE, 3) and alpha.shape == (2, SIDE, SIDE, 1)
    assert sums.eq(0).all() and alpha.eq(0).all()


def test_gradients_of_project():
    means, scales, quaternions, _ = cloud(4, seed=4, dtype=torch.float64)
    means[0] = torch.tensor([0.0, 1.5, 0.1])  # where the Jacobian is held
    camera = front(2, torch.float64)
    inputs = [part.requires_grad_() for part in (means, scales, quaternions)]
    assert torch.autograd.gradcheck(lambda *parts: splat.project(*parts, camera, 0.2)[:3], inputs)


def test_gradients_of_blend():
    means, scales, quaternions, opacities = cloud(8, seed=5, dtype=torch.float64)
    opacities[0] = 0.9999  # held at .99 in the middle
    camera = crop(front(1, torch.float64), 29, 24, 6, 17)  # two tiles
    prints = splat.project(means, scales, quaternions, camera, 0.2)
    values = torch.rand(1, 8, 1, dtype=torch.float64)

    def blended(centers, conics, opacities, values):
        return splat.blend(prints._replace(centers=centers, conics=conics), opacities, values, 6, 17)

    inputs = [part.detach().requires_grad_() for part in (prints.centers, prints.conics, opacities, values)]
    assert torch.autograd.gradcheck(blended, inputs, eps=1e-7, atol=1e-4)


def test_gradients_from_pixels_to_all_five_groups():
    parts = cloud(6, seed=6, dtype=torch.float64)
    camera = crop(front(1, torch.float64), 28, 28, 8, 8)
    values = torch.rand(1, 6, 1, dtype=torch.float64)
    inputs = [part.requires_grad_() for part in (*parts, values)]
    assert torch.autograd.gradcheck(lambda *args: drawn(*args, camera), inputs, eps=1e-7, atol=1e-4)
