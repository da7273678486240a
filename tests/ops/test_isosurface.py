"""The lattice, and surfaces that march out of it, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from threestudio_like.ops.isosurface import EDGES, enclosed, lattice, marching_tets

pytestmark = pytest.mark.usefixtures("either")


def sphere(points: torch.Tensor, radius: float) -> torch.Tensor:
    return torch.linalg.vector_norm(points, dim=-1) - radius


def torus(points: torch.Tensor, radius: float, tube: float) -> torch.Tensor:
    ring = torch.linalg.vector_norm(points[:, :2], dim=-1) - radius
    return torch.sqrt(ring**2 + points[:, 2] ** 2) - tube


def signed_volume(vertices: torch.Tensor, faces: torch.Tensor) -> float:
    a, b, c = vertices.double()[faces].unbind(1)
    return (torch.linalg.cross(a, b) * c).sum().item() / 6


def surface_area(vertices: torch.Tensor, faces: torch.Tensor) -> float:
    a, b, c = vertices.double()[faces].unbind(1)
    return torch.linalg.cross(b - a, c - a).norm(dim=-1).sum().item() / 2


def assert_closed(faces: torch.Tensor) -> None:
    """Every directed edge is met by exactly one opposite."""
    sides = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forth = sides[:, 0] * (faces.max() + 1) + sides[:, 1]
    back = sides[:, 1] * (faces.max() + 1) + sides[:, 0]
    assert len(forth.unique()) == len(forth)
    assert torch.equal(forth.sort().values, back.sort().values)


def euler_characteristic(vertices: torch.Tensor, faces: torch.Tensor) -> int:
    return len(vertices) - len(faces) // 2  # closed: three half edges a face


@pytest.mark.parametrize("resolution", [2, 3, 8, 13])
def test_lattice_fills_the_box_once(resolution):
    grid = lattice(resolution)
    corners = grid.vertices[grid.tets.long()].double()
    spans = corners[:, 1:] - corners[:, :1]
    volumes = (torch.linalg.cross(spans[:, 0], spans[:, 1]) * spans[:, 2]).sum(-1) / 6
    assert volumes.min() > 0.01 * volumes.max()
    assert volumes.sum().item() == pytest.approx(8, rel=1e-6)
    assert grid.vertices.abs().max() == 1
    assert len(grid.vertices.unique(dim=0)) == len(grid.vertices)
    assert torch.equal(grid.tets.unique(), torch.arange(len(grid.vertices), dtype=grid.tets.dtype))


def test_lattice_is_as_large_as_it_says():
    assert len(lattice(32).vertices) == pytest.approx(33**3, rel=0.1)


@pytest.mark.parametrize("resolution", [2, 9])
def test_tetrahedra_share_whole_faces(resolution):
    grid = lattice(resolution)
    triples = torch.cat([grid.tets[:, [i for i in range(4) if i != k]] for k in range(4)]).sort(dim=-1).values
    faces, counts = triples.unique(dim=0, return_counts=True)
    on_box = (grid.vertices[faces.long()].abs() == 1).all(1).any(-1)
    assert torch.equal(counts, torch.where(on_box, 1, 2))


def test_lattice_has_the_symmetries_of_the_cube():
    grid = lattice(5)
    for image in (
        grid.vertices[:, [1, 2, 0]],
        grid.vertices[:, [1, 0, 2]],
        grid.vertices * torch.tensor([-1, 1, 1]),
    ):
        distance, match = torch.cdist(image, grid.vertices).min(dim=-1)
        assert distance.max() < 1e-6
        moved = match[grid.tets.long()].sort(dim=-1).values.unique(dim=0)
        assert torch.equal(moved, grid.tets.long().sort(dim=-1).values.unique(dim=0))


def test_edges_are_numbered_once_and_rightly():
    grid = lattice(7)
    assert len(grid.edges.unique(dim=0)) == len(grid.edges)
    ends = grid.tets[:, torch.tensor(EDGES)].sort(dim=-1).values
    assert torch.equal(grid.edges[grid.tet_edges.long()], ends)


def test_lattice_that_is_too_coarse_is_an_error():
    with pytest.raises(ValueError, match="at least 2"):
        lattice(1)


@pytest.mark.parametrize(
    ("field", "characteristic"), [(lambda p: sphere(p, 0.6), 2), (lambda p: torus(p, 0.55, 0.25), 0)]
)
def test_surfaces_are_closed_and_wound_outward(field, characteristic):
    grid = lattice(24)
    vertices, faces = marching_tets(grid.vertices, field(grid.vertices), grid)
    assert_closed(faces)
    assert torch.equal(faces.unique(), torch.arange(len(vertices)))
    assert euler_characteristic(vertices, faces) == characteristic
    assert signed_volume(vertices, faces) > 0


def test_noise_is_closed_too():
    grid = lattice(8)
    sdf = torch.randn(len(grid.vertices), generator=torch.Generator().manual_seed(0))
    sdf[(grid.vertices.abs() == 1).any(-1)] = 1.0
    vertices, faces = marching_tets(grid.vertices, sdf, grid)
    assert_closed(faces)
    assert 0 < signed_volume(vertices, faces) < 8


def test_volume_of_the_inside_is_that_of_the_linear_field():
    """One vertex inside: its surface bounds a half-sized copy of the tetrahedra around it."""
    grid = lattice(4)
    centre = (grid.vertices.norm(dim=-1)).argmin()
    sdf = torch.ones(len(grid.vertices))
    sdf[centre] = -1.0
    vertices, faces = marching_tets(grid.vertices, sdf, grid)
    around = grid.tets[(grid.tets == centre).any(-1)].long()
    corners = grid.vertices[around]
    spans = corners[:, 1:] - corners[:, :1]
    volume = (torch.linalg.cross(spans[:, 0], spans[:, 1]) * spans[:, 2]).sum().item() / 6
    assert signed_volume(vertices, faces) == pytest.approx(volume / 8, rel=1e-5)
    assert len(faces) == len(around)


def test_sphere_converges_with_the_square_of_the_spacing():
    radius, errors = 0.3, []
    for resolution in (16, 32, 64):
        grid = lattice(resolution)
        vertices, faces = marching_tets(grid.vertices, sphere(grid.vertices, radius), grid)
        volume, area = signed_volume(vertices, faces), surface_area(vertices, faces)
        exact = torch.tensor([4 / 3 * math.pi * radius**3, 4 * math.pi * radius**2])
        errors.append((exact - torch.tensor([volume, area])) / exact)
        longest = 2 * 2 ** (1 / 3) / resolution * 1.05  # edge: the number of cubes is rounded
        assert sphere(vertices, radius).abs().max() < longest**2 / (8 * radius) * 1.1  # the sag of a chord
    assert (errors[-1] > 0).all() and (errors[-1] < 0.01).all()
    for coarse, fine in zip(errors, errors[1:], strict=False):
        torch.testing.assert_close(coarse / fine, torch.full((2,), 4.0), rtol=0.25, atol=0)


@pytest.mark.parametrize(
    ("resolution", "volume", "area", "error", "num_faces"),
    [(16, 0.11115, 1.12006, 1.94e-3, 2240), (32, 0.11261, 1.12825, 5.9e-4, 8968)],
)
def test_a_sphere_is_as_good_as_on_the_published_grids(resolution, volume, area, error, num_faces):
    """Radius .3 in a box of side 1, on the grids that come with DMTet, here with nearly as many vertices."""
    grid = lattice(resolution)
    vertices, faces = marching_tets(grid.vertices, sphere(grid.vertices, 0.6), grid)
    vertices = vertices / 2
    assert signed_volume(vertices, faces) == pytest.approx(volume, rel=1e-3)
    assert surface_area(vertices, faces) == pytest.approx(area, rel=1e-3)
    assert sphere(vertices, 0.3).abs().max().item() == pytest.approx(error, rel=0.1)
    assert len(faces) == pytest.approx(num_faces, rel=0.15)


def test_plane_is_exact():
    grid = lattice(6)
    normal = torch.nn.functional.normalize(torch.tensor([1.0, 2.0, -0.5]), dim=0)
    sdf = grid.vertices @ normal - 0.1234
    vertices, faces = marching_tets(grid.vertices, sdf, grid)
    torch.testing.assert_close(vertices @ normal, torch.full((len(vertices),), 0.1234))
    a, b, c = vertices[faces].unbind(1)
    assert (torch.linalg.cross(b - a, c - a) @ normal > -1e-9).all()


def test_scale_of_the_distances_does_not_matter():
    grid = lattice(10)
    sdf = torus(grid.vertices, 0.5, 0.2)
    ones, faces = marching_tets(grid.vertices, sdf, grid)
    sevens, same = marching_tets(grid.vertices, 7 * sdf, grid)
    torch.testing.assert_close(ones, sevens)
    assert torch.equal(faces, same)


def test_derivative_by_the_distances_is_the_formula():
    """dv/ds_a = (a - b) s_b / (s_b - s_a)^2."""
    grid = lattice(3)
    points = grid.vertices.double().requires_grad_()
    sdf = sphere(grid.vertices.double(), 0.6).requires_grad_()
    vertices, _ = marching_tets(points, sdf, grid)
    crossed = grid.edges[(sdf[grid.edges[:, 0].long()] < 0) != (sdf[grid.edges[:, 1].long()] < 0)].long()
    a, b = crossed.unbind(-1)
    weight = torch.randn(len(vertices), 3, dtype=torch.float64)
    by_points, by_sdf = torch.autograd.grad((vertices * weight).sum(), (points, sdf))
    with torch.no_grad():
        at_a, at_b = sdf[a, None], sdf[b, None]
        along = ((points[a] - points[b]) / (at_b - at_a) ** 2 * weight).sum(-1)
        expected = torch.zeros_like(sdf).index_add(0, a, along * sdf[b]).index_add(0, b, -along * sdf[a])
        share = at_b / (at_b - at_a)
        moved = torch.zeros_like(points).index_add(0, a, share * weight).index_add(0, b, (1 - share) * weight)
    torch.testing.assert_close(by_sdf, expected)
    torch.testing.assert_close(by_points, moved)


def test_gradcheck():
    grid = lattice(2)
    inputs = (grid.vertices.double().requires_grad_(), sphere(grid.vertices.double(), 0.7).requires_grad_())
    assert torch.autograd.gradcheck(lambda v, s: marching_tets(v, s, grid)[0], inputs)


def test_zero_counts_as_outside():
    grid = lattice(5)
    sdf = sphere(grid.vertices, 0.6)
    at_zero = sdf.abs() < 0.15
    assert at_zero.sum() > 10
    exact = torch.where(at_zero, 0.0, sdf)
    vertices, faces = marching_tets(grid.vertices, exact, grid)
    assert_closed(faces)
    assert vertices.isfinite().all()
    above = marching_tets(grid.vertices, torch.where(at_zero, 1e-7, sdf), grid)
    torch.testing.assert_close(vertices, above[0], atol=1e-5, rtol=0)
    assert torch.equal(faces, above[1])


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_no_surface_is_empty(value):
    grid = lattice(4)
    sdf = torch.full((len(grid.vertices),), value, requires_grad=True)
    vertices, faces = marching_tets(grid.vertices, sdf, grid)
    assert vertices.shape == (0, 3) and faces.shape == (0, 3) and faces.dtype == torch.int64
    vertices.sum().backward()
    assert (sdf.grad == 0).all()


def test_what_is_enclosed_cannot_be_reached_from_the_faces():
    grid = lattice(16)
    radius = grid.vertices.norm(dim=-1)
    shell = (radius - 0.6).abs() - 0.2  # inside the shell negative
    torch.testing.assert_close(enclosed(shell, grid, 0), radius < 0.8)
    pierced = torch.where(grid.vertices[:, :2].norm(dim=-1) < 0.25, 1.0, shell)  # a hole through both poles
    assert torch.equal(enclosed(pierced, grid, 0), pierced < 0)


def test_a_pore_of_the_skin_is_closed_and_a_wide_way_in_is_not():
    grid = lattice(24)
    radius = grid.vertices.norm(dim=-1)
    shell = (radius - 0.65).abs() - 0.15
    aside = grid.vertices[:, :2].norm(dim=-1)
    below = grid.vertices[:, 2] < 0
    for hole, closed in ((0.1, True), (0.4, False)):
        pierced = torch.where(below & (aside < hole), 1.0, shell)
        assert not enclosed(pierced, grid, 0)[radius < 0.3].any()  # the pore does lead in
        found = enclosed(pierced, grid, 1)
        assert found[radius < 0.3].all() == closed
        assert not found[radius > 0.85].any() and found[pierced < 0].all()  # the outside is where it was
