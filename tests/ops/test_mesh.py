"""Meshes of which area, volume, normals and parts are known."""

import math

import pytest
import torch

from threestudio_like.ops import mesh

OCTAHEDRON = (
    torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]).double(),
    torch.tensor([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]),
)


def sphere(levels):
    """An octahedron, each face cut in four `levels` times, pushed out to the unit sphere."""
    vertices, faces = OCTAHEDRON
    for _ in range(levels):
        sides = mesh.edges(faces)
        number = {tuple(pair): len(vertices) + i for i, pair in enumerate(sides.tolist())}
        vertices = torch.cat([vertices, vertices[sides].mean(1)])
        cut = []
        for a, b, c in faces.tolist():
            ab, bc, ca = (number[min(p, q), max(p, q)] for p, q in ((a, b), (b, c), (c, a)))
            cut += [[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]
        faces = torch.tensor(cut)
    return torch.nn.functional.normalize(vertices, dim=-1), faces


def test_octahedron_has_the_area_and_volume_of_the_formula():
    assert mesh.signed_volume(*OCTAHEDRON).item() == pytest.approx(4 / 3)
    assert mesh.area(*OCTAHEDRON).item() == pytest.approx(4 * math.sqrt(3))
    vertices, faces = OCTAHEDRON
    assert mesh.signed_volume(vertices + 5.0, faces).item() == pytest.approx(4 / 3)
    assert mesh.signed_volume(vertices, faces.flip(1)).item() == pytest.approx(-4 / 3)


def test_sphere_converges_to_its_area_and_volume_with_the_square_of_the_step():
    errors = []
    for levels in (2, 3, 4):
        surface = sphere(levels)
        errors.append((4 * math.pi - mesh.area(*surface), 4 / 3 * math.pi - mesh.signed_volume(*surface)))
    ratios = torch.tensor(errors)[:-1] / torch.tensor(errors)[1:]
    assert (torch.tensor(errors) > 0).all()
    torch.testing.assert_close(ratios, torch.full_like(ratios, 4.0), atol=0.3, rtol=0)


def test_normals_of_a_sphere_point_outward():
    vertices, faces = sphere(3)
    centres = torch.nn.functional.normalize(vertices[faces].mean(1), dim=-1)
    assert ((mesh.face_normals(vertices, faces) * centres).sum(-1) > 0.999).all()
    assert ((mesh.vertex_normals(vertices, faces) * vertices).sum(-1) > 0.999).all()


def test_vertex_normals_weigh_faces_by_area():
    vertices = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 4]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    expected = torch.tensor([2 * 3 * 0.0 + 3 * 4.0, 0.0, 2 * 3.0])  # twice the areas: 6 along z, 12 along x
    torch.testing.assert_close(mesh.vertex_normals(vertices, faces)[0], expected / expected.norm())


def test_degenerate_faces_and_lonely_vertices_give_zero_and_finite_gradients():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0], [9, 9, 9]], requires_grad=True)
    faces = torch.tensor([[0, 1, 2], [0, 0, 3]])
    normals = torch.cat([mesh.face_normals(vertices, faces), mesh.vertex_normals(vertices, faces)])
    assert (normals == 0).all()
    (gradient,) = torch.autograd.grad(normals.sum() + mesh.laplacian_loss(vertices, faces), vertices)
    assert gradient.isfinite().all()


def test_normals_volume_and_laplacian_pass_gradcheck():
    vertices, faces = sphere(1)
    wobbly = (vertices + 0.1 * torch.sin(7 * vertices.flip(1))).requires_grad_()
    functions = (mesh.face_normals, mesh.vertex_normals, mesh.area, mesh.signed_volume, mesh.laplacian_loss)
    for function in functions:
        assert torch.autograd.gradcheck(lambda v, function=function: function(v, faces), wobbly)


def test_edges_are_unique_and_euler_s_number_is_two():
    vertices, faces = sphere(3)
    sides = mesh.edges(faces)
    expected = {tuple(sorted(side)) for a, b, c in faces.tolist() for side in ((a, b), (b, c), (c, a))}
    assert [tuple(side) for side in sides.tolist()] == sorted(expected)
    assert len(vertices) - len(sides) + len(faces) == 2


def test_neighbours_against_a_search():
    _, faces = sphere(1)
    sheet = [*faces[9, :2].tolist(), 20]  # on an edge that has two faces already
    faces = torch.cat([faces[3:], torch.tensor([sheet, [20, 21, 22]])])
    found = mesh.neighbours(faces)
    assert (found < 0).sum() > 5
    for f, face in enumerate(faces.tolist()):
        for corner in range(3):
            side = {face[corner - 1], face[corner - 2]}
            others = [i for i, other in enumerate(faces.tolist()) if i != f and side <= set(other)]
            if len(others) == 1:
                assert found[f, corner] // 3 == others[0]
                assert faces[others[0], found[f, corner] % 3].item() not in side
            else:
                assert found[f, corner] == -1


def test_laplacian_is_zero_on_a_flat_grid_and_inward_on_a_sphere():
    rows, columns = torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij")
    flat = torch.stack([rows, columns, 0 * rows], dim=-1).reshape(-1, 3).double()
    corner = (rows * 5 + columns)[:-1, :-1].reshape(-1)
    squares = torch.stack([corner, corner + 5, corner + 6, corner + 1], dim=1)
    faces = torch.cat([squares[:, [0, 1, 2]], squares[:, [0, 2, 3]]])
    inner = ((flat[:, :2] > 0) & (flat[:, :2] < 4)).all(1)
    torch.testing.assert_close(mesh.laplacian(flat, faces)[inner], torch.zeros(9, 3, dtype=torch.float64))
    vertices, faces = sphere(3)
    assert ((mesh.laplacian(vertices, faces) * vertices).sum(-1) < 0).all()
    assert mesh.laplacian_loss(2 * vertices, faces) == pytest.approx(2 * mesh.laplacian_loss(vertices, faces))


def test_components_against_a_search_on_random_graphs():
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        faces = torch.randint(60, (25, 3), generator=generator)
        expected = list(range(60))
        for _ in range(60):
            for face in faces.tolist():
                least = min(expected[i] for i in face)
                for i in face:
                    expected[i] = least
        assert mesh.components(faces, 60).tolist() == expected


def test_large_components_drops_specks_and_their_vertices():
    vertices, faces = sphere(2)
    speck, speck_faces = OCTAHEDRON
    both = torch.cat([speck * 0.1 + 3, vertices]), torch.cat([speck_faces, faces + len(speck)])
    kept, kept_faces = mesh.large_components(*both, share=0.1)
    torch.testing.assert_close(kept, vertices)
    assert torch.equal(kept_faces, faces)
    everything, _ = mesh.large_components(*both, share=0.01)
    assert len(everything) == len(vertices) + len(speck)


def test_an_empty_mesh_is_no_trouble():
    vertices, faces = torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)
    assert mesh.edges(faces).shape == (0, 2)
    assert mesh.neighbours(faces).shape == mesh.face_normals(vertices, faces).shape == (0, 3)
    assert mesh.laplacian_loss(vertices, faces) == mesh.area(vertices, faces) == 0
    assert mesh.large_components(vertices, faces, 0.1)[1].shape == (0, 3)


def test_points_are_spread_by_area():
    """On two triangles, of areas 3 and 1."""
    vertices = torch.tensor([[0.0, 0, 0], [3.0, 0, 0], [0.0, 2, 0], [0.0, 0, 9], [1.0, 0, 9], [0.0, 2, 9]])
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    points = mesh.spread(vertices, faces, 4000, torch.Generator().manual_seed(0))
    low = points[points[:, 2].abs() < 1e-5]
    assert len(low) == pytest.approx(3000, abs=100)  # 3.6 deviations
    assert (points[:, :2] >= 0).all() and (low[:, 0] / 3 + low[:, 1] / 2).max() <= 1 + 1e-6
    torch.testing.assert_close(low.mean(0), torch.tensor([1.0, 2 / 3, 0]), atol=0.05, rtol=0)
