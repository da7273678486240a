"""Every pixel is what the rays through it meet, by brute force; clay is lit from where it is seen."""

import math

import pytest
import torch
import torch.nn.functional as F

from threestudio_like.export.draw import clay, draw, over_white
from threestudio_like.ops.camera import orbit, rays, resized
from threestudio_like.ops.texture import sample
from threestudio_like.records import Camera, Mesh, View


def cameras(side: int) -> Camera:
    """Two, at no special angle."""
    return orbit(
        azimuth=torch.tensor([0.3, 2.5]),
        elevation=torch.tensor([0.4, -0.2]),
        distance=torch.tensor([2.0, 2.3]),
        fov_y=torch.tensor([0.7, 0.8]),
        height=side,
        width=side + 3,
    )


@pytest.fixture
def tetrahedron() -> Mesh:
    """Each face has a part of a colourful texture to itself."""
    corner = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])
    faces = torch.tensor([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    numbers = torch.Generator().manual_seed(0)
    return Mesh(
        0.4 * corner,
        faces,
        uv=torch.rand(12, 2, generator=numbers),
        uv_faces=torch.arange(12).reshape(4, 3),
        texture=torch.rand(5, 7, 3, generator=numbers),
    )


def met(mesh: Mesh, camera: Camera) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(distance, inf for none; face; weights of its corners; how far inside) of the first face, ray by ray.

    Moeller and Trumbore 1997, in double precision: o + t d = a + v (b - a) + w (c - a).
    """
    origins, directions = (part.double()[..., None, :] for part in rays(camera))
    a, b, c = mesh.vertices.double()[mesh.faces].unbind(1)
    matrix = torch.stack(torch.broadcast_tensors(-directions, b - a, c - a), dim=-1)
    t, v, w = torch.linalg.solve(matrix, (origins - a)[..., None])[..., 0].unbind(-1)
    weights = torch.stack([1 - v - w, v, w], dim=-1)
    inside = weights.amin(-1)
    distance, face = torch.where((inside >= 0) & (t > 0), t, math.inf).min(-1)
    weights = weights.gather(-2, face[..., None, None].expand(*face.shape, 1, 3))[..., 0, :]
    return distance, face, weights.float(), inside.abs().amin(-1)


def test_pixels_are_what_their_rays_meet(tetrahedron):
    camera = cameras(24)
    view = draw(tetrahedron, camera, 1)
    distance, face, weights, margin = met(tetrahedron, camera)
    hit, sure = distance.isfinite(), margin > 1e-3  # a ray along an edge may go either way
    assert hit.any() and not hit.all() and sure.float().mean() > 0.9
    assert torch.equal(view.alpha[..., 0][sure], hit[sure].float())

    sure &= hit
    face, weights = face[sure], weights[sure][..., None]
    uv = (tetrahedron.uv[tetrahedron.uv_faces[face]] * weights).sum(1)
    assert torch.allclose(view.rgb[sure], sample(tetrahedron.texture, uv), atol=1e-3)
    # a regular tetrahedron's smooth normals are its corners' directions
    normal = (F.normalize(tetrahedron.vertices, dim=-1)[tetrahedron.faces[face]] * weights).sum(1)
    assert torch.allclose(view.normal[sure], F.normalize(normal, dim=-1), atol=1e-3)
    forward = -camera.c2w[:, None, None, :3, 2]
    depth = distance[sure] * (rays(camera).directions * forward).sum(-1)[sure]
    assert torch.allclose(view.depth[..., 0][sure].double(), depth.double(), atol=1e-3)


def test_a_pixel_is_the_mean_of_its_samples(tetrahedron):
    """Colour, depth and normal of those that hit; alpha of all."""
    few, fine = draw(tetrahedron, cameras(12), 3), resized(cameras(12), 36, 45)
    many = draw(tetrahedron, fine, 1)

    def pooled(image: torch.Tensor) -> torch.Tensor:
        return image.unflatten(2, (15, 3)).unflatten(1, (12, 3)).mean((2, 4))

    assert ((few.alpha > 0) & (few.alpha < 1)).any()
    assert torch.allclose(few.alpha, pooled(many.alpha), atol=1e-6)
    share = few.alpha.clamp(min=1e-6)
    assert torch.allclose(few.rgb, pooled(many.rgb) / share, atol=1e-5)
    assert torch.allclose(few.depth, pooled(many.depth) / share, atol=1e-5)
    # normals count by their length before it is made 1: shorter where the surface turns more
    distance, face, weights, margin = met(tetrahedron, fine)
    normals = F.normalize(tetrahedron.vertices, dim=-1)[tetrahedron.faces[face]]
    normals = (normals * weights[..., None]).sum(-2) * distance.isfinite()[..., None]
    sure = pooled((margin < 1e-3)[..., None].float())[..., 0] == 0
    assert (few.alpha[..., 0] * sure).sum() > 20
    assert torch.allclose(few.normal[sure], F.normalize(pooled(normals), dim=-1)[sure], atol=1e-3)


def test_what_is_in_front_hides_what_is_behind():
    """Two squares across the view, the far one larger: z-depth is constant on each, in whatever order."""
    square = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    near, far = (F.pad(size * square, (1, 0), value=x) for size, x in ((0.2, 0.5), (0.6, -0.5)))
    pair = torch.tensor([[0, 1, 2], [0, 2, 3]])
    one = torch.ones(1)
    camera = orbit(azimuth=0 * one, elevation=0 * one, distance=2 * one, fov_y=one, height=30, width=30)
    uv = torch.tensor([[0.0, 0.5], [1.0, 0.5]])  # red, green
    for order in ((near, far), (far, near)):
        colour = torch.tensor([0, 1] if order[0] is near else [1, 0])
        mesh = Mesh(
            torch.cat(order),
            torch.cat([pair, pair + 4]),
            uv=uv,
            uv_faces=colour.repeat_interleave(2)[:, None].repeat(1, 3),
            texture=torch.eye(3)[None, :2],
        )
        view = draw(mesh, camera, 1)
        assert view.rgb[0, 15, 15].tolist() == [1, 0, 0] and view.rgb[0, 15, 21].tolist() == [0, 1, 0]
        assert float(view.depth[0, 15, 15]) == pytest.approx(1.5, abs=1e-4)
        assert float(view.depth[0, 15, 21]) == pytest.approx(2.5, abs=1e-4)


def flat(normal: torch.Tensor, alpha: float) -> View:
    """One pixel, seen from azimuth 0, elevation 0."""
    zero = torch.zeros(1)
    camera = orbit(azimuth=zero, elevation=zero, distance=zero + 2, fov_y=zero + 1, height=1, width=1)
    rgb, full = torch.tensor([0.2, 0.4, 0.6]).view(1, 1, 1, 3), torch.full((1, 1, 1, 1), alpha)
    return View(camera, rgb, full, normal=F.normalize(normal, dim=-1).view(1, 1, 1, 3))


@pytest.mark.parametrize(
    ("normal", "cosine"),
    [
        ((1.0, 0.0, 1.0), 1.0),  # towards the lamp, half-way between the camera and above
        ((1.0, 0.0, 0.0), math.sqrt(0.5)),
        ((0.0, 0.0, 1.0), math.sqrt(0.5)),
        ((0.0, 1.0, 0.0), 0.0),
        ((-1.0, 0.0, 0.0), 0.0),  # turned away: no less than the rest of the dark side
    ],
)
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_clay_is_lambert_s_law_over_white(normal, cosine, alpha):
    shown = clay(flat(torch.tensor(normal), alpha))
    expected = alpha * (0.25 + 0.65 * cosine) + 1 - alpha
    assert torch.allclose(shown, torch.full((1, 1, 1, 3), expected), atol=1e-6)


def test_over_white_is_straight_colour_laid_on_white():
    shown = over_white(flat(torch.tensor([1.0, 0.0, 0.0]), 0.25))
    assert torch.allclose(shown[0, 0, 0], torch.tensor([0.8, 0.85, 0.9]))
