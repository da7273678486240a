"""InstructPix2Pix's training: the loss reaches the picture's channels, and validation judges samples."""

import pytest
import torch


def test_the_loss_reaches_words_and_picture(small_system, examples):
    system = small_system("instructpix2pix")
    losses = system.compute(examples(1)[0])
    assert set(losses) == {"denoise"}
    losses["denoise"].backward()
    assert system.prior.denoiser.unet.conv_in.weight.grad[:, 16:].abs().sum() > 0
    assert system.prior.text.project.weight.grad.abs().sum() > 0


def test_validation_tells_words_and_copies_apart(small_system, examples):
    system, batch = small_system("instructpix2pix"), examples(1)[0]
    batch = batch._replace(reference=batch.target)
    with torch.no_grad():
        scores = system.score(batch)
    guesses = ("copied_input", "sample", "wrong_words")
    assert {f"{g}/{m}" for g in guesses for m in ("psnr", "ssim", "mask_iou")} < set(scores)
    assert scores["copied_input/ssim"] == pytest.approx(1, abs=1e-4)
    assert scores["sample/psnr"] != scores["wrong_words/psnr"]


def test_pictures_show_before_truth_and_sample(small_system, examples):
    with torch.no_grad():
        picture = small_system("instructpix2pix").pictures(examples(1)[0])["samples"]
    assert picture.shape == (3 * 16, 4 * 16, 3)
