"""Reference losses: invariances and closed forms."""

import pytest
import torch
import torch.nn.functional as F

from threestudio_like.losses.reference import depth_pearson, normal_cosine, reference_losses
from threestudio_like.records import Camera, Render, View

CAMERA = Camera(torch.eye(4)[None], torch.ones(1), 6, 6)


def picture(**cues):
    return View(CAMERA, torch.rand(1, 6, 6, 3), (torch.rand(1, 6, 6, 1) > 0.5).float(), **cues)


def rendered(view, depth=None, normal=None):
    zeros = torch.zeros(1, 6, 6, 3)
    return Render(
        view.rgba[..., :3],
        view.alpha,
        zeros[..., :1] if depth is None else depth,
        zeros if normal is None else normal,
    )


def test_a_perfect_render_has_no_loss():
    view = picture(depth=torch.rand(1, 6, 6, 1), normal=F.normalize(torch.randn(1, 6, 6, 3), dim=-1))
    losses = reference_losses(rendered(view, view.depth, view.normal), view)
    assert set(losses) == {"rgb", "mask", "depth", "normal"}
    for loss in losses.values():
        assert loss.item() == pytest.approx(0, abs=1e-5)


def test_a_cue_that_is_not_there_gives_no_loss():
    view = picture()
    assert set(reference_losses(rendered(view), view)) == {"rgb", "mask"}


@pytest.mark.parametrize(
    ("scale", "shift", "expected"), [(3.0, -2.0, 0.0), (0.1, 5.0, 0.0), (-1.0, 1.0, 2.0)]
)
def test_depth_does_not_see_scale_and_shift(scale, shift, expected):
    depth, mask = torch.rand(1, 6, 6, 1), (torch.rand(1, 6, 6, 1) > 0.3).float()
    target = torch.where(mask > 0, scale * depth + shift, torch.tensor(99.0))  # outside: anything
    assert depth_pearson(depth, target, mask).item() == pytest.approx(expected, abs=1e-4)


def test_normals_at_a_known_angle():
    up = torch.tensor([0.0, 0.0, 1.0]).expand(1, 6, 6, 3)
    tilted = torch.tensor([0.0, 0.6, 0.8]).expand(1, 6, 6, 3)
    assert normal_cosine(up, tilted, torch.ones(1, 6, 6, 1)).item() == pytest.approx(0.2)


def test_an_empty_render_gives_finite_gradients():
    view = picture(depth=torch.rand(1, 6, 6, 1), normal=torch.rand(1, 6, 6, 3))
    zeros = torch.zeros(1, 6, 6, 3, requires_grad=True)
    losses = reference_losses(Render(zeros, zeros[..., :1], zeros[..., :1], zeros), view)
    sum(losses.values()).backward()
    assert torch.isfinite(zeros.grad).all()
