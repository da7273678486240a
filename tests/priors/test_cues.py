"""The estimator's door: frames, sizes, what is empty; and that it can learn."""

import pytest
import torch

from threestudio_like.data.cameras import Pose
from threestudio_like.data.draw import Light, draw
from threestudio_like.data.shapes import mesh, single
from threestudio_like.losses.reference import depth_pearson
from threestudio_like.metrics.cues import depth_error, median_angle
from threestudio_like.priors.cues import Cues, Guess
from threestudio_like.priors.weights import save


def cues(weights: str | None = None) -> Cues:
    torch.manual_seed(0)
    return Cues(size=16, widths=[8, 16, 16], tail=4, groups=4, spread=0.1, weights=weights)


def test_normals_are_turned_into_the_world(monkeypatch, disc):
    """A network that sees everything face the camera: in the world that is the camera's own direction."""
    network, view = cues(), disc(16)
    facing = torch.tensor([0.0, 0.0, 1.0]).expand(1, 16, 16, 3)
    depth = torch.linspace(0, 1, 256).view(1, 16, 16, 1)
    monkeypatch.setattr(network, "guess", lambda image: Guess(depth, facing))
    seen = network(view)
    inside, camera = view.alpha[..., 0] > 0, view.camera.c2w[0]
    outward = torch.nn.functional.normalize(camera[:3, 3], dim=0)
    torch.testing.assert_close(seen.normal[inside], outward.expand(int(inside.sum()), 3))
    assert (seen.normal[~inside] == 0).all() and (seen.depth[~inside] == 0).all()
    around = seen.depth[inside] - 1.6
    assert around.mean().item() == pytest.approx(0, abs=1e-5)
    assert around.abs().mean().item() == pytest.approx(0.1, abs=1e-5)
    assert depth_pearson(seen.depth, depth, view.alpha).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("side", [16, 32, 12, 50])
def test_answers_have_the_picture_s_size_and_unit_normals(side, disc):
    view = disc(side)
    seen = cues()(view)
    inside = view.alpha[..., 0] > 0
    assert seen.depth.shape == view.alpha.shape
    length = torch.linalg.vector_norm(seen.normal, dim=-1)
    torch.testing.assert_close(length, inside.float(), atol=1e-5, rtol=0)
    assert not seen.depth.requires_grad and seen.rgb is view.rgb


def test_weights_are_read_back(tmp_path):
    one = cues()
    with torch.no_grad():
        one.tail[-1].bias.add_(1.0)
    save(one, tmp_path / "cues", {})
    other = cues(str(tmp_path / "cues.safetensors"))
    torch.testing.assert_close(other.tail[-1].bias, one.tail[-1].bias, rtol=1e-3, atol=1e-4)


def test_the_bundled_one_sees_that_a_ball_is_round():
    network = Cues(size=64, widths=[32, 96, 128, 192], tail=8, groups=8, spread=0.12, weights="cues")
    camera = Pose(30.0, 20.0, 1.6, 49.134).camera(96)
    ball = draw(mesh(single("sphere")), camera, Light([0.6, 0.0, 0.8], 0.4, 0.6))
    told = network(ball._replace(depth=None, normal=None))
    assert median_angle(told.normal, ball.normal, ball.alpha) < 18  # flat: 33
    assert depth_error(told.depth, ball.depth, ball.alpha) < 0.03  # flat: .076
