"""Textures reach the corners of triangles, finely enough, and without opening cracks."""

import numpy as np
import torch
from PIL import Image

from threestudio_like.data.colors import cut, sampled
from threestudio_like.data.objects import read

QUAD = "mtllib quad.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nusemtl a\n"


def textured_quad(folder, picture: Image.Image):
    """A unit square in the file's x, y with the whole picture on it."""
    picture.save(folder / "a.png")
    (folder / "quad.mtl").write_text("newmtl a\nKd 0 0 0\nmap_Kd a.png\n")
    (folder / "quad.obj").write_text(QUAD + "f 1/1 2/2 3/3\nf 1/1 3/3 4/4\n")
    return read(folder / "quad.obj")


def test_cutting_keeps_area_and_texture_and_ends_below_the_length():
    rng = np.random.default_rng(0)
    corners, flat = rng.random((5, 3, 3)), rng.random((3, 2))
    uv = corners @ flat  # linear in the place, as on a plane
    small, small_uv = cut(corners, uv, 0.1)
    edges = np.linalg.norm(small - np.roll(small, 1, axis=1), axis=-1)
    assert edges.max() <= 0.1

    def areas(c):
        return np.linalg.norm(np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]), axis=-1)

    assert np.isclose(areas(small).sum(), areas(corners).sum())
    assert np.allclose(small_uv, small @ flat)


def test_cutting_keeps_orientation_and_opens_no_crack_between_neighbours():
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 0.3, 0], [0, 0.3, 0]])
    corners = square[np.array([[0, 1, 2], [0, 2, 3]])]
    small, _ = cut(corners, corners[..., :2], 0.15)
    assert (np.cross(small[:, 1] - small[:, 0], small[:, 2] - small[:, 0])[:, 2] > 0).all()
    ends = np.stack([small, np.roll(small, -1, axis=1)], axis=2).reshape(-1, 2, 3).round(9)
    sides = {tuple(sorted(map(tuple, pair))) for pair in ends.tolist()}
    counts = {side: 0 for side in sides}
    for pair in ends.tolist():
        counts[tuple(sorted(map(tuple, pair)))] += 1
    rim = [side for side, count in counts.items() if count == 1]
    assert max(counts.values()) == 2
    assert all(
        any(abs(a[i] - w) < 1e-9 and abs(b[i] - w) < 1e-9 for i, w in ((0, 0), (0, 1), (1, 0), (1, 0.3)))
        for a, b in rim
    )  # only the square's own outline belongs to one triangle


def test_a_texture_lands_where_its_coordinates_say(tmp_path):
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[:32, :32] = (255, 0, 0)  # the picture's upper left
    pixels[32:, 32:] = (0, 0, 255)  # lower right
    mesh = textured_quad(tmp_path, Image.fromarray(pixels))
    sideways, up = mesh.vertices[:, 1], mesh.vertices[:, 2]  # the file's x and y
    upper_left = (sideways < -0.03) & (up > 0.03)
    lower_right = (sideways > 0.03) & (up < -0.03)
    assert torch.allclose(mesh.rgb[upper_left], torch.tensor([1.0, 0.0, 0.0]))
    assert torch.allclose(mesh.rgb[lower_right], torch.tensor([0.0, 0.0, 1.0]))
    assert upper_left.sum() > 100


def test_what_is_transparent_in_the_texture_is_cut_out(tmp_path):
    pixels = np.full((64, 64, 4), 255, dtype=np.uint8)
    pixels[:, 32:, 3] = 0  # the right half
    mesh = textured_quad(tmp_path, Image.fromarray(pixels))
    extent = mesh.vertices.amax(0) - mesh.vertices.amin(0)
    assert 0.45 < float(extent[1] / extent[2]) < 0.55


def test_fine_patterns_are_averaged_to_the_corners_spacing():
    board = np.indices((64, 64)).sum(0) % 2 * 255
    image = Image.fromarray(board.astype(np.uint8)).convert("RGB")
    uv = np.array([[[0.1, 0.1], [0.3, 0.1], [0.1, 0.3]]])
    assert np.abs(sampled(image, uv)[..., :3].astype(int) - 128).max() < 20
