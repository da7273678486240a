"""Matting on pictures whose alpha is known: drawn here, so that no file is needed."""

import hashlib

import pytest
import torch

from threestudio_like.priors.matting import BUNDLED, Matting


def matting(**changes) -> Matting:
    return Matting(**(dict(weights="u2netp.onnx", num_threads=1, confidence=0.5) | changes))


def ball_on_wall(height: int = 240, width: int = 300):
    """A shaded red ball before a striped, noisy wall; its picture and its alpha."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    u, v = (x - 140) / 80, (y - 130) / 80
    alpha = ((1 - (u**2 + v**2).sqrt()) * 80 + 0.5).clamp(0, 1)[..., None]
    lit = (0.35 + 0.65 * (-(u + v) * 0.5 + (1 - u**2 - v**2).clamp(min=0).sqrt() * 0.7).clamp(0, 1))[
        ..., None
    ]
    ball = lit * torch.tensor([0.85, 0.15, 0.1])
    wall = (
        0.6
        + 0.08 * torch.sin(x / 9)[..., None]
        + 0.03 * torch.randn(height, width, 3, generator=torch.Generator().manual_seed(0))
    )
    return (ball * alpha + wall * (1 - alpha)).clamp(0, 1), alpha


def test_the_weights_are_the_published_ones():
    digest = hashlib.sha256((BUNDLED / "u2netp.onnx").read_bytes()).hexdigest()
    assert digest == "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"
    assert digest in (BUNDLED / "u2netp.md").read_text()


def test_a_ball_is_cut_out_at_the_picture_s_own_size():
    rgb, alpha = ball_on_wall()
    found = matting()(rgb)
    assert found.shape == alpha.shape
    seen, true = found > 0.5, alpha > 0.5
    assert ((seen & true).sum() / (seen | true).sum()).item() > 0.95
    assert (found - alpha).abs().mean().item() < 0.02


def test_an_empty_picture_has_no_object():
    assert matting()(torch.full((40, 30, 3), 0.5)).max() == 0


def test_missing_weights_are_named():
    with pytest.raises(ValueError, match="no file 'u3net.onnx'"):
        matting(weights="u3net.onnx")(torch.zeros(8, 8, 3))
