"""Texture space: texels against a known triangle, charts of shapes whose pieces can be counted."""

import torch
import trimesh

from threestudio_like.ops.uv import adjacent, box_charts, box_sides, hidden, pieces, texels


def cube():
    box = trimesh.creation.box().subdivide().subdivide()
    return torch.tensor(box.vertices, dtype=torch.float32), torch.tensor(box.faces)


def test_texels_of_a_half_square_lie_where_pictures_have_them():
    uv = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # below the diagonal, v up
    fragments = texels(uv, torch.tensor([[0, 1, 2]]), 8, 8)
    covered = fragments.face[0] >= 0
    assert covered[7, 0] and not covered[0, 7]
    row, column = torch.nonzero(covered, as_tuple=True)
    u, v = (column + 0.5) / 8, 1 - (row + 0.5) / 8
    weights = fragments.barycentric[0][covered]
    assert torch.allclose(weights[:, 1], u, atol=1e-5)
    assert torch.allclose(1 - weights.sum(-1), v, atol=1e-5)


def test_a_cube_is_cut_into_its_six_sides_each_undistorted():
    vertices, faces = cube()
    side = box_sides(vertices, faces, 0)
    normals = torch.linalg.cross(*(vertices[faces[:, i]] - vertices[faces[:, 0]] for i in (1, 2)))
    assert torch.equal(side, torch.cat([normals, -normals], dim=-1).argmax(-1))
    charts = box_charts(vertices, faces, side, torch.zeros_like(side))
    assert torch.equal(charts.vertex[charts.faces], faces)
    piece = pieces(len(faces), adjacent(charts.faces))
    assert len(piece.unique()) == 6
    a, b, c = charts.uv[charts.faces].unbind(1)
    doubled = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    three = torch.linalg.cross(
        vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]]
    )
    # seen from outside nothing is mirrored, and areas are kept
    assert torch.allclose(doubled, three.norm(dim=-1), atol=1e-6)


def noisy_ball():
    sphere = trimesh.creation.icosphere(subdivisions=4)
    noise = 1 + 0.02 * torch.randn(len(sphere.vertices), 1, generator=torch.Generator().manual_seed(0))
    return torch.tensor(sphere.vertices, dtype=torch.float32) * noise, torch.tensor(sphere.faces)


def cut(vertices, faces, smoothing):
    side = box_sides(vertices, faces, smoothing)
    return box_charts(vertices, faces, side, torch.zeros_like(side))


def test_smoothing_mends_pieces_that_noise_cuts():
    vertices, faces = noisy_ball()
    counts = [len(pieces(len(faces), adjacent(cut(vertices, faces, n).faces)).unique()) for n in (0, 20)]
    assert counts[1] < counts[0] / 5


def test_no_face_is_laid_flatter_than_a_fifth_of_itself():
    vertices, faces = noisy_ball()
    vertices = vertices + 0.1 * torch.randn(vertices.shape, generator=torch.Generator().manual_seed(1))
    side = box_sides(vertices, faces, 20)
    normals = torch.linalg.cross(*(vertices[faces[:, i]] - vertices[faces[:, 0]] for i in (1, 2)))
    normals = normals / normals.norm(dim=-1, keepdim=True)
    assert (normals.gather(1, (side % 3)[:, None])[:, 0] * torch.where(side < 3, 1, -1) >= 0.2).all()


def test_layers_are_cut_and_lie_apart():
    vertices, faces = cube()
    side, layer = box_sides(vertices, faces, 0), torch.zeros(len(faces), dtype=torch.int64)
    top = torch.nonzero(side == 2)[:, 0]
    layer[top[: len(top) // 2]] = 1
    charts = box_charts(vertices, faces, side, layer)
    assert len(pieces(len(faces), adjacent(charts.faces)).unique()) > 6
    one, two = (charts.uv[charts.faces[(side == 2) & (layer == i)]][..., 0] for i in (0, 1))
    assert two.min() > one.max()


def roof():
    """A square from -1 to 1 and another a quarter as large above it, both seen from above."""
    square = torch.tensor([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]])
    pair = torch.tensor([[0, 1, 2], [0, 2, 3]])
    return torch.cat([square, 0.5 * square + torch.tensor([0.4, 0.3, 0.5])]), torch.cat([pair, pair + 4])


def test_what_lies_under_something_else_is_hidden_and_what_lies_beside_is_not():
    vertices, faces = roof()
    over = 0.1 + 0.8 * (vertices[:, :2] + 1) / 2
    found = hidden(vertices, faces, over, faces, 64)
    assert found[:2].all() != found[2:].all()  # one of the two, as the texture shows one alone
    beside = torch.cat([over[:4] / 2, over[4:] / 2 + 0.5])
    assert not hidden(vertices, faces, beside, faces, 64).any()


def test_a_face_too_small_for_a_texel_is_not_hidden_by_its_neighbours():
    vertices, faces = noisy_ball()
    square = torch.stack([vertices[:, 0], vertices[:, 1]], dim=-1) / 3 + 0.5
    front = vertices[faces][..., 2].amin(1) > 0.3
    assert not hidden(vertices, faces[front], square, faces[front], 24).any()


def test_pieces_of_a_long_chain_and_a_loner():
    pairs = torch.stack([torch.arange(999), torch.arange(1, 1000)], dim=-1)[torch.randperm(999)]
    label = pieces(1001, pairs)
    assert (label[:1000] == 0).all() and label[1000] == 1000


def test_adjacent_counts_the_edges_of_a_closed_surface():
    _, faces = cube()
    assert len(adjacent(faces)) == len(faces) * 3 // 2
