"""Texture space: texels against a known triangle, charts of shapes whose pieces can be counted."""

import torch
import trimesh

from threestudio_like.ops.uv import adjacent, box_charts, pieces, texels


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
    charts = box_charts(vertices, faces, 0)
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


def test_smoothing_mends_pieces_that_noise_cuts():
    sphere = trimesh.creation.icosphere(subdivisions=4)
    noise = 1 + 0.02 * torch.randn(len(sphere.vertices), 1, generator=torch.Generator().manual_seed(0))
    vertices = torch.tensor(sphere.vertices, dtype=torch.float32) * noise
    faces = torch.tensor(sphere.faces)
    counts = [
        len(pieces(len(faces), adjacent(box_charts(vertices, faces, smoothing).faces)).unique())
        for smoothing in (0, 20)
    ]
    assert counts[1] < counts[0] / 5


def test_pieces_of_a_long_chain_and_a_loner():
    pairs = torch.stack([torch.arange(999), torch.arange(1, 1000)], dim=-1)[torch.randperm(999)]
    label = pieces(1001, pairs)
    assert (label[:1000] == 0).all() and label[1000] == 1000


def test_adjacent_counts_the_edges_of_a_closed_surface():
    _, faces = cube()
    assert len(adjacent(faces)) == len(faces) * 3 // 2
