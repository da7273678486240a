"""What is drawn is the file's colour, where the cameras look."""

import math
import subprocess

import imageio.v2 as imageio
import numpy as np
import pytest
import torch
import trimesh
from imageio_ffmpeg import get_ffmpeg_exe

from threestudio_like.export.draw import clay, draw, over_white
from threestudio_like.export.turntable import write_comparison, write_preview, write_turntable
from threestudio_like.ops.camera import around, orbit
from threestudio_like.records import Camera, Mesh, View

RED, BLUE = torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.2, 0.9])


def camera(side: int = 32) -> Camera:
    zero = torch.zeros(1)
    return orbit(azimuth=zero, elevation=zero, distance=zero + 3.0, fov_y=zero + 0.8, height=side, width=side)


def halves() -> Mesh:
    """A ball of radius 1/2: red in front (x > 0), blue behind."""
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.5)
    vertices, faces = torch.tensor(ball.vertices, dtype=torch.float32), torch.tensor(ball.faces)
    texture = torch.stack([BLUE, RED])[None]  # u = 1/4 is blue, u = 3/4 is red
    front = vertices[faces].mean(1)[:, 0] > 0
    uv = torch.tensor([[0.25, 0.5], [0.75, 0.5]])
    return Mesh(
        vertices, faces, uv=uv, uv_faces=front.long()[:, None].expand(-1, 3).contiguous(), texture=texture
    )


def test_front_is_red_and_back_is_blue():
    view = draw(halves(), around(camera(), 2, 0.0), 2)
    assert torch.allclose(view.rgb[0, 16, 16], RED, atol=1e-5)
    assert torch.allclose(view.rgb[1, 16, 16], BLUE, atol=1e-5)
    assert torch.equal(over_white(view)[0, 0, 0], torch.ones(3))


def test_depth_normal_and_outline_are_the_balls():
    view = draw(halves(), camera(64), 4)
    assert float(view.depth[0, 32, 32]) == pytest.approx(2.5, abs=0.01)
    assert float(view.normal[0, 32, 32, 0]) > 0.99
    # a ball's outline is the tangent cone: sin(angle) = r / d
    radius = math.tan(math.asin(0.5 / 3.0)) / math.tan(0.4) * 32
    assert float(view.alpha.sum()) == pytest.approx(math.pi * radius**2, rel=0.01)
    assert 0 < float(clay(view)[0, 32, 32, 0]) < 1


def test_turntable_plays(tmp_path):
    write_turntable(tmp_path / "t.mp4", halves(), camera(), frames=5, side=48, fps=5)
    # not imageio's reader: it leaves pipes open, which is a warning, which is an error
    command = [get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "t.mp4")]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    frames = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 48, 96, 3)
    assert len(frames) == 5
    assert frames[0][24, 24, 0] > 180 > frames[0][24, 24, 2]  # red first
    assert list(tmp_path.iterdir()) == [tmp_path / "t.mp4"]


def test_preview_shows_the_picture_beside_the_views(tmp_path):
    picture = torch.tensor([0.0, 1.0, 0.0]).expand(1, 20, 20, 3)
    reference = View(camera(20), picture, torch.ones(1, 20, 20, 1))
    write_preview(tmp_path / "p.png", halves(), reference, views=3, side=24)
    sheet = imageio.imread(tmp_path / "p.png")
    assert sheet.shape == (48, 96, 3)
    assert (sheet[:24, :24] == [0, 255, 0]).all()
    assert np.abs(sheet[12, 36].astype(int) - to_255(RED)).max() <= 1


def test_comparison_of_a_mesh_with_its_own_picture_is_black(tmp_path):
    reference = draw(halves(), camera(), 2)
    write_comparison(tmp_path / "f.png", halves(), reference)
    sheet = imageio.imread(tmp_path / "f.png")
    assert sheet.shape == (32, 96, 3) and (sheet[:, 64:] == 0).all()


def to_255(color: torch.Tensor) -> np.ndarray:
    return (color * 255).round().numpy().astype(int)
