"""Rasterisation against rays solved one by one, closed forms of coverage, and its gradients."""

import math

import pytest
import torch

from threestudio_like.ops import raster
from threestudio_like.ops.camera import orbit, rays, world_to_clip

DOUBLE = torch.float64


def random_triangles(seed, count, behind=False):
    """Clip positions of separate triangles in one view; `behind`: some corners are behind the camera."""
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.rand(1, 3 * count, 3, generator=generator, dtype=DOUBLE) * 2 - 1
    depth = xyz[..., 2:] * 1.5 + (0.8 if behind else 2.5)
    near, far = 0.1, 10.0
    z = depth * (far + near) / (far - near) - 2 * far * near / (far - near)
    return torch.cat([xyz[..., :2] * 1.5, z, depth], dim=-1), torch.arange(3 * count).reshape(-1, 3)


def solved(positions, faces, height, width):
    """Weights b of the points sum b_i p_i = w (X, Y, 1), sum b_i = 1: H W F 3; and their z / w: H W F."""
    x, y, z, w = positions[faces].unbind(-1)
    system = torch.zeros(height, width, len(faces), 4, 4, dtype=DOUBLE)
    for i, values in enumerate((x, y, w, torch.ones_like(x))):
        system[..., i, :3] = values
    system[..., 0, 3] = -((2 * torch.arange(width, dtype=DOUBLE) + 1) / width - 1)[None, :, None]
    system[..., 1, 3] = -((2 * torch.arange(height, dtype=DOUBLE) + 1) / height - 1)[:, None, None]
    system[..., 2, 3] = -1
    solution = torch.linalg.solve(system, torch.tensor([0.0, 0, 0, 1], dtype=DOUBLE))
    weights, scale = solution[..., :3], solution[..., 3]
    depth = (weights * z).sum(-1) / scale
    hit = (weights >= 0).all(-1) & (scale > 0) & (depth.abs() <= 1)
    return weights, torch.where(hit, depth, torch.inf)


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # the backend, and the reference
def test_every_pixel_against_rays_solved_one_by_one(behind, dtype):
    for seed in range(4):
        positions, faces = random_triangles(seed, 12, behind)
        positions = positions.to(dtype)
        fragments = raster.rasterize(positions, faces, 18, 25)
        weights, depth = solved(positions[0].double(), faces, 18, 25)
        nearest, face = depth.min(dim=-1)
        face = torch.where(nearest.isinf(), -1, face)
        assert 0.1 < (face >= 0).double().mean() < 1
        assert torch.equal(fragments.face[0], face)
        hit = face >= 0
        tolerance = {"atol": 1e-5, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 1e-9, "rtol": 1e-9}
        expected = weights[hit, face[hit], :2].to(dtype)
        torch.testing.assert_close(fragments.barycentric[0][hit], expected, **tolerance)
        torch.testing.assert_close(fragments.depth[0, ..., 0][hit], nearest[hit].to(dtype), **tolerance)
        assert (fragments.barycentric[0][~hit] == 0).all() and (fragments.depth[0][~hit] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pixels_on_shared_edges_and_corners_are_covered_exactly_once(dtype):
    """Corners lie on pixel centres and edges run through them; faces are wound both ways."""
    generator = torch.Generator().manual_seed(0)
    size, step, last = 32, 4, 28  # powers of two: pixel centres are exact
    rows, columns = torch.meshgrid(torch.arange(0, size, step), torch.arange(0, size, step), indexing="ij")
    move = torch.randint(-1, 2, (2, *rows.shape), generator=generator)
    move[0, [0, -1]], move[1, :, [0, -1]] = 0, 0  # the rim stays straight
    pixels = torch.stack([columns + move[1], rows + move[0]], dim=-1).reshape(-1, 2)
    w = torch.exp2(torch.randint(0, 3, (len(pixels), 1), generator=generator))
    flat = torch.cat([(2 * pixels + 1) / size - 1, torch.zeros_like(w), torch.ones_like(w)], dim=-1)
    positions = (flat * w).to(dtype)
    count = rows.shape[1]
    corner = (torch.arange(rows.shape[0] - 1)[:, None] * count + torch.arange(count - 1)).reshape(-1)
    squares = torch.stack([corner, corner + count, corner + count + 1, corner + 1], dim=1)
    faces = torch.cat([squares[:, [0, 1, 2]], squares[:, [0, 3, 2]]])
    drawn = [raster.rasterize(positions[None], face[None], size, size).face >= 0 for face in faces]
    times = torch.stack(drawn).sum(0)[0]
    assert (times[:last, :last] == 1).all()  # the top and left rims belong to the sheet, the others do not
    assert (times[last:] == 0).all() and (times[:, last:] == 0).all()
    together = raster.rasterize(positions[None], faces, size, size).face[0]
    assert torch.equal(together >= 0, times == 1)


def test_interpolation_is_exact_under_perspective():
    """A world position interpolated over a slanted face lies on the face's plane and on the pixel's ray."""
    camera = orbit(
        azimuth=torch.tensor([0.4, 2.0], dtype=DOUBLE),
        elevation=torch.tensor([0.3, -0.5], dtype=DOUBLE),
        distance=torch.tensor([1.6, 1.2], dtype=DOUBLE),
        fov_y=torch.tensor([0.9, 1.2], dtype=DOUBLE),
        height=20,
        width=30,
    )
    vertices = torch.tensor([[0.9, -0.8, -0.6], [-0.3, 0.9, -0.2], [-0.5, -0.4, 0.8]], dtype=DOUBLE)
    faces = torch.tensor([[0, 1, 2]])
    homogeneous = torch.cat([vertices, torch.ones(3, 1, dtype=DOUBLE)], dim=-1)
    clip = homogeneous @ world_to_clip(camera, 0.1, 10.0).transpose(1, 2)
    fragments = raster.rasterize(clip, faces, 20, 30)
    hit = fragments.face >= 0
    assert hit.flatten(1).sum(1).min() > 50
    points = raster.interpolate(vertices, fragments, faces)[hit]
    normal = torch.linalg.cross(vertices[1] - vertices[0], vertices[2] - vertices[0])
    assert ((points - vertices[0]) @ normal).abs().max() < 1e-12
    seen = rays(camera)
    away = torch.linalg.cross(points - seen.origins[hit], seen.directions[hit])
    assert away.abs().max() < 1e-12
    separate = raster.interpolate(torch.stack([vertices, 2 * vertices]), fragments, faces)
    torch.testing.assert_close(separate[0], raster.interpolate(vertices, fragments, faces)[0])
    torch.testing.assert_close(separate[1], 2 * raster.interpolate(vertices, fragments, faces)[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_floor_under_the_camera_is_seen_up_to_the_horizon_and_beyond_the_near_plane(dtype):
    """A camera at height 1 looks along the horizon; the floor reaches far behind it."""
    near, far, size = 0.5, 50.0, 40
    x = torch.tensor([-900.0, -900, 900, 900], dtype=DOUBLE)
    along = torch.tensor([-900.0, 900, -900, 900], dtype=DOUBLE)
    z = along * (far + near) / (far - near) - 2 * far * near / (far - near)
    positions = torch.stack([x, torch.ones_like(x), z, along], dim=-1)[None].to(dtype)  # y runs down
    fragments = raster.rasterize(positions, torch.tensor([[0, 1, 2], [1, 3, 2]]), size, size)
    y = ((2 * torch.arange(size, dtype=DOUBLE) + 1) / size - 1)[:, None].expand(size, size)
    distance = 1 / y  # of the floor
    assert torch.equal(fragments.face[0] >= 0, (distance >= near) & (distance <= far))
    hit = fragments.face[0] >= 0
    expected = (far + near) / (far - near) - 2 * far * near / (far - near) / distance[hit]
    torch.testing.assert_close(fragments.depth[0, ..., 0][hit].double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hidden_equal_flat_and_broken_faces(dtype):
    square = torch.tensor([[-1.0, -1], [3, -1], [-1, 3]], dtype=dtype)

    def at(depth):
        return torch.cat([square, torch.tensor([[depth, 1.0]], dtype=dtype).expand(3, 2)], dim=-1)

    line = at(-0.9)[[0, 1, 1]]
    broken = at(-0.9) * torch.tensor([math.nan, 1, 1, 1], dtype=dtype)
    endless = at(-0.9) * torch.tensor([math.inf, 1, 1, 1], dtype=dtype)
    positions = torch.cat([at(0.5), at(0.2), at(0.2), at(-1.5), at(1.5), line, broken, endless])[None]
    fragments = raster.rasterize(positions, torch.arange(24).reshape(-1, 3), 5, 7)
    assert (fragments.face == 1).all()  # nearer than 0, before its equal, and the others are nowhere
    nothing = raster.rasterize(positions, torch.zeros(0, 3, dtype=torch.int64), 5, 7)
    assert (nothing.face == -1).all() and (nothing.depth == 0).all()
    colours = torch.ones(24, 3, dtype=dtype)
    assert (raster.interpolate(colours, nothing, torch.zeros(0, 3, dtype=torch.int64)) == 0).all()


def test_gradients_of_the_reference_pass_gradcheck():
    positions, faces = random_triangles(3, 2, behind=True)
    positions.requires_grad_()
    attributes = torch.rand(6, 2, dtype=DOUBLE, requires_grad=True)
    image = torch.rand(1, 6, 5, 2, dtype=DOUBLE, requires_grad=True)
    fragments = raster.rasterize(positions, faces, 6, 5)
    assert (fragments.face >= 0).sum() > 5
    assert not torch.equal(raster.antialias(image, fragments, positions, faces), image)
    assert torch.autograd.gradcheck(lambda p: raster.rasterize(p, faces, 6, 5).barycentric, positions)
    uv = fragments.barycentric.detach().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: raster.interpolate(a, fragments._replace(barycentric=b), faces), (attributes, uv)
    )
    detached = raster.Fragments(*(value.detach() for value in fragments))
    assert torch.autograd.gradcheck(lambda i, p: raster.antialias(i, detached, p, faces), (image, positions))


def moved_by(positions, columns, rows, height, width):
    """The same triangles, shifted so that each pixel shows what was `columns` and `rows` further on."""
    shift = torch.tensor([2 * columns / width, 2 * rows / height, 0.0, 0.0], dtype=positions.dtype)
    return positions - shift * positions[..., 3:]


@pytest.mark.parametrize("behind", [False, True])
def test_screen_derivatives_are_the_differences_between_moved_pictures(behind):
    height, width, step = 17, 23, 1e-5
    positions, faces = random_triangles(1, 5, behind)
    fragments = raster.rasterize(positions, faces, height, width)
    attributes = torch.randn(15, 2, dtype=DOUBLE)
    found = raster.screen_derivatives(positions, faces, fragments)
    along = raster.attribute_derivatives(attributes, found, fragments, faces)
    for axis, move in enumerate(((step, 0.0), (0.0, step))):
        sides = [
            raster.rasterize(
                moved_by(positions, s * move[0], s * move[1], height, width), faces, height, width
            )
            for s in (1, -1)
        ]
        same = (sides[0].face == sides[1].face) & (fragments.face == sides[0].face)
        assert same.double().mean() > 0.95 and (fragments.face[same] >= 0).double().mean() > 0.1
        slopes = (sides[0].barycentric - sides[1].barycentric) / (2 * step)
        torch.testing.assert_close(found[..., [axis, 2 + axis]][same], slopes[same], atol=1e-6, rtol=1e-6)
        values = [raster.interpolate(attributes, side, faces) for side in sides]
        slopes = (values[0] - values[1]) / (2 * step)
        torch.testing.assert_close(along[..., axis][same], slopes[same], atol=1e-6, rtol=1e-6)
    both = torch.stack([attributes, attributes])
    twice = raster.Fragments(*(part.expand(2, *part.shape[1:]) for part in fragments))
    again = raster.attribute_derivatives(both, found.expand(2, -1, -1, -1), twice, faces)
    assert torch.equal(again, along.expand(2, -1, -1, -1, -1))


def test_gradients_of_the_derivatives_pass_gradcheck():
    positions, faces = random_triangles(3, 2, behind=True)
    fragments = raster.rasterize(positions, faces, 6, 5)
    attributes = torch.rand(6, 2, dtype=DOUBLE)

    def derivatives(corners, values):
        slopes = raster.screen_derivatives(corners, faces, fragments)
        return raster.attribute_derivatives(values, slopes, fragments, faces)

    assert torch.autograd.gradcheck(derivatives, (positions.requires_grad_(), attributes.requires_grad_()))


def rectangle(left, right, top, bottom, size):
    """Two faces in clip space; edges in pixels from the picture's corner."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    xy = torch.stack([torch.stack([torch.as_tensor(v, dtype=DOUBLE) for v in corner]) for corner in corners])
    rest = torch.tensor([0.0, 1.0], dtype=DOUBLE).expand(4, 2)
    return torch.cat([2 * xy / size - 1, rest], dim=-1)[None], torch.tensor([[0, 1, 2], [0, 2, 3]])


def coverage(positions, faces, size):
    """The antialiased picture of white faces on black."""
    fragments = raster.rasterize(positions, faces, size, size)
    return raster.antialias((fragments.face >= 0).to(positions.dtype)[..., None], fragments, positions, faces)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_moving_strip_covers_each_pixel_by_its_exact_area(dtype):
    for edge in (6.0, 6.2, 6.5, 6.8, 7.0, 7.49):
        left, right = torch.tensor(3.3, dtype=DOUBLE), torch.tensor(edge, dtype=DOUBLE, requires_grad=True)
        positions, faces = rectangle(left, right, -5.0, 25.0, 12)
        columns = torch.arange(12, dtype=DOUBLE)
        exact = ((right - columns).clamp(0, 1) - (left - columns).clamp(0, 1)).detach()
        for turned in (False, True):
            turn = positions[..., [1, 0, 2, 3]] if turned else positions
            image = coverage(turn.to(dtype), faces, 12)[0, ..., 0]
            image = image.T if turned else image
            torch.testing.assert_close(image.double(), exact.expand(12, 12), atol=2e-6, rtol=0)
            (slope,) = torch.autograd.grad(image.sum(), right, retain_graph=True)
            assert slope.item() == pytest.approx(12, rel=1e-5)  # a row each


def test_a_moving_square_has_the_gradient_of_its_area():
    """Corners are blended along rows and columns apart, so the square's own side is right to a pixel."""
    moved = torch.tensor(0.3, dtype=DOUBLE, requires_grad=True)
    scale = torch.tensor(1.0, dtype=DOUBLE, requires_grad=True)
    left, right, top, bottom = (16 + scale * v for v in (-10.0, 10.2, -9.6, 10.1))
    image = coverage(*rectangle(left + moved, right + moved, top, bottom, 32), 32)
    area = 20.2 * 19.7
    assert image.sum().item() == pytest.approx(area, abs=1)
    (shift,) = torch.autograd.grad(image.sum(), moved, retain_graph=True)
    assert shift.item() == pytest.approx(0, abs=1)
    (right_shift,) = torch.autograd.grad(image[:, :, 16:].sum(), moved, retain_graph=True)
    assert right_shift.item() == pytest.approx(19.7, abs=1)
    (growth,) = torch.autograd.grad(image.sum(), scale)
    assert growth.item() == pytest.approx(2 * area, rel=0.05)


def test_a_turned_square_grows_and_moves_as_its_exact_coverage_does():
    """What is missing are the corners: a few percent, measured against the derivatives of the area."""
    size, side = 48, 26.0
    for angle in (0.2, 0.5, math.pi / 4):
        scale = torch.tensor(1.0, dtype=DOUBLE, requires_grad=True)
        positions, faces = rectangle(-side / 2, side / 2, -side / 2, side / 2, size)
        x, y = (positions[..., :2] + 1).unbind(-1)
        cos, sin = math.cos(angle), math.sin(angle)
        turned = torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)
        xy = turned * scale + torch.tensor([0.013, 0.027], dtype=DOUBLE)
        image = coverage(torch.cat([xy, positions[..., 2:]], dim=-1), faces, size)
        assert image.sum().item() == pytest.approx(side * side, rel=0.01)
        (growth,) = torch.autograd.grad(image.sum(), scale)
        assert growth.item() == pytest.approx(2 * side * side, rel=0.06)


@pytest.mark.parametrize("around", [24, 200])  # faces of several pixels, and several faces between two pixels
def test_a_ball_grows_and_moves_as_its_disc_does(around):
    """A fine mesh has faces thinner than pixels where it turns away; its silhouette must not be lost."""
    size, rings = 64, around // 2
    theta = torch.linspace(0, math.pi, rings + 1)[:, None].float()
    phi = (torch.arange(around) * 2 * math.pi / around).float()
    ball = torch.stack([theta.sin() * phi.cos(), theta.cos().expand(-1, around), theta.sin() * phi.sin()], -1)
    i, j = torch.meshgrid(torch.arange(rings), torch.arange(around), indexing="ij")
    a, b = (i * around + j).reshape(-1), (i * around + (j + 1) % around).reshape(-1)
    faces = torch.cat([torch.stack([a, a + around, b], 1), torch.stack([b, a + around, b + around], 1)])
    radius, moved = torch.tensor(0.61, requires_grad=True), torch.tensor(0.013, requires_grad=True)
    x, y, z = ball.reshape(-1, 3).unbind(-1)
    w = torch.ones_like(z)
    positions = torch.stack([x * radius + moved, y * radius + 2 * moved, z / 2, w], dim=-1)[None]
    image = coverage(positions, faces, size)
    disc = around / 2 * math.sin(2 * math.pi / around) * (size / 2) ** 2  # of radius 1, seen as a polygon
    assert image.sum().item() == pytest.approx(disc * 0.61**2, rel=0.003)
    growth, shift = torch.autograd.grad(image.sum(), (radius, moved), retain_graph=True)
    assert growth.item() == pytest.approx(2 * disc * 0.61, rel=0.02)
    assert shift.item() == pytest.approx(0, abs=0.02 * size**2)
    (right_shift,) = torch.autograd.grad(image[:, :, size // 2 :].sum(), moved)
    assert right_shift.item() == pytest.approx(2 * 0.61 * (size / 2) ** 2, rel=0.07)


def test_only_outlines_are_blended():
    """A box seen from a corner: the edges between faces that are seen stay sharp, its outline is blended."""
    ends = torch.tensor([-0.4, 0.4], dtype=DOUBLE)
    corners = torch.cat([torch.cartesian_prod(ends, ends, ends), torch.ones(8, 1, dtype=DOUBLE)], dim=-1)
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    faces = torch.tensor([t for a, b, c, d in quads for t in ([a, b, c], [a, c, d])])
    angle = torch.tensor([0.7], dtype=DOUBLE)
    camera = orbit(azimuth=angle, elevation=angle, distance=angle + 1, fov_y=angle, height=40, width=40)
    clip = corners @ world_to_clip(camera, 0.1, 9.0).transpose(1, 2)
    fragments = raster.rasterize(clip, faces, 40, 40)
    image = torch.rand(1, 40, 40, 3, dtype=DOUBLE)
    changed = (raster.antialias(image, fragments, clip, faces) != image).any(-1)[0]
    hit = torch.nn.functional.pad(fragments.face[0] >= 0, (1, 1, 1, 1))
    around = torch.stack([hit[:-2, 1:-1], hit[2:, 1:-1], hit[1:-1, :-2], hit[1:-1, 2:], hit[1:-1, 1:-1]])
    rim = around.any(0) & ~around.all(0)
    assert not changed[~rim].any()
    assert changed[rim].double().mean() > 0.4
    assert len(fragments.face[0][~rim & (fragments.face[0] >= 0)].unique()) >= 4


def test_the_nearer_face_s_edge_is_blended_over_the_farther_one():
    near, faces = rectangle(-5.0, 6.2, -5.0, 20.0, 12)
    far, _ = rectangle(-5.0, 20.0, -5.0, 20.0, 12)
    positions = torch.cat([near, far + torch.tensor([0, 0, 0.5, 0], dtype=DOUBLE)], dim=1)
    for order in (positions, torch.cat([positions[:, 4:], positions[:, :4]], dim=1)):
        both = torch.cat([faces, faces + 4])
        fragments = raster.rasterize(order, both, 12, 12)
        colour = raster.interpolate(order[0, :, 2:3], fragments, both)  # 0 near, 0.5 far
        blended = raster.antialias(colour, fragments, order, both)[0, :, :, 0]
        expected = torch.tensor([0.0] * 6 + [0.5 * 0.8] + [0.5] * 5, dtype=DOUBLE).expand(12, 12)
        torch.testing.assert_close(blended, expected)
