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


def test_training_drops_words_and_picture(small_system, examples):
    """5 % instruction alone, 5 % picture alone, 5 % both; here a third each, by the system's own loss."""
    system, batch = small_system("instructpix2pix", "prior.dropout=0.3333"), examples(1)[0]
    batch, prior, told = batch._replace(reference=batch.target), system.prior, []
    raw, count = prior.raw, 60
    prior.raw = lambda x_t, t, condition: told.append(condition) or raw(x_t, t, condition)
    torch.manual_seed(0)
    with torch.no_grad():
        nothing = prior.text([""])
        for _ in range(count):
            system.compute(batch)
    wordless = torch.cat([(each.tokens == nothing).all((1, 2)) for each in told])
    blind = torch.cat([(each.image == 0).all((1, 2, 3)) for each in told])
    shares = [(a & b).float().mean().item() for a in (wordless, ~wordless) for b in (blind, ~blind)]
    assert shares == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0], abs=4 * (2 / 9 / len(blind)) ** 0.5)


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
