"""Zero-1-to-3's training: two losses with a lift, one without; and the gate's numbers."""

import pytest
import torch

from systems.zero123 import hue


def test_losses_and_their_gradients(small_system, examples):
    system, batch = small_system("zero123"), examples(1)[0]
    losses = system.compute(batch)
    assert set(losses) == {"denoise", "lift", "chroma"}
    losses["lift"].backward()
    assert system.prior.lift.picture.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in system.prior.denoiser.parameters())


def test_without_a_lift(small_system, examples):
    system = small_system("zero123", "prior.lift=null", "prior.denoiser.image_channels=16", "weights.lift=0")
    assert set(system.compute(examples(1)[0])) == {"denoise"}
    with torch.no_grad():
        assert system.pictures(examples(1)[0])["samples"].shape == (3 * 16, 4 * 16, 3)


def test_gate(small_system, examples):
    system, batch = small_system("zero123"), examples(1)[0]
    batch = batch._replace(reference=batch.target)
    with torch.no_grad():
        scores = system.score(batch)
    guesses = ("copied_input", "mean_picture", "sample", "wrong_pose", "wrong_input", "regression")
    assert {f"{g}/{m}" for g in guesses for m in ("psnr", "ssim", "mask_iou")} < set(scores)
    assert scores["copied_input/ssim"] == pytest.approx(1, abs=1e-4)
    assert scores["copied_input/mask_iou"] == 1
    assert scores["sample/psnr"] != scores["wrong_pose/psnr"] != scores["wrong_input/psnr"]


def test_hue():
    grey, red = torch.full((1, 4, 2, 2), 0.3), torch.tensor([0.9, 0.0, 0.0, 1.0]).view(1, 4, 1, 1)
    assert hue(grey).abs().max() < 1e-6
    torch.testing.assert_close(hue(red + grey)[0, :, 0, 0], torch.tensor([0.6, -0.3, -0.3]))
