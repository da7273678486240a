"""Picture metrics against closed forms and scikit-image."""

import math

import pytest
import torch
from skimage.metrics import structural_similarity

from threestudio_like.metrics.image import compared, mask_iou, psnr, ssim


def test_psnr_of_a_known_error_is_exact_and_by_picture():
    truth = torch.rand(2, 8, 9, 3) * 0.5
    error = torch.tensor([0.1, 0.01])[:, None, None, None]
    assert torch.allclose(psnr(truth + error, truth), torch.tensor([20.0, 40.0]), atol=1e-3)


def test_psnr_averages_over_channels_before_the_logarithm():
    prediction = torch.zeros(1, 4, 4, 3)
    prediction[..., 0] = 0.3
    found = float(psnr(prediction, torch.zeros(1, 4, 4, 3)))
    assert found == pytest.approx(-10 * math.log10(0.03), abs=1e-4)
    summed = -10 * math.log10(0.3**2 / 3 / 3)  # One-2-3-45 divides by the channels twice
    assert summed - found == pytest.approx(4.771, abs=1e-3)


def test_psnr_of_equal_pictures_is_infinite():
    assert psnr(torch.ones(1, 2, 2, 3), torch.ones(1, 2, 2, 3)).isinf().all()


def test_ssim_agrees_with_scikit_image():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 24, 20, 3, generator=generator, dtype=torch.float64)
    noisy = (truth + 0.2 * torch.randn(truth.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    expected = [
        structural_similarity(a.numpy(), b.numpy(), channel_axis=-1, **settings)
        for a, b in zip(noisy, truth, strict=True)
    ]
    assert ssim(noisy, truth).tolist() == pytest.approx(expected, abs=1e-6)
    assert ssim(truth, truth).tolist() == pytest.approx([1.0, 1.0])


def test_ssim_refuses_pictures_smaller_than_its_window():
    with pytest.raises(ValueError, match="11 pixels"):
        ssim(torch.zeros(1, 8, 16, 3), torch.zeros(1, 8, 16, 3))


def test_mask_iou_of_shifted_squares():
    one, other = torch.zeros(3, 20, 20, 1), torch.zeros(3, 20, 20, 1)
    one[0, 2:12, 5:15] = 1
    other[0, 2:12, 10:20] = 0.6  # half of either: 50 / 150
    other[1, 3, 3] = 1
    assert mask_iou(one, other).tolist() == pytest.approx([1 / 3, 0.0, 1.0])


def test_compared():
    truth = torch.zeros(2, 16, 16, 4)
    truth[:, :8, :, 3] = 1
    guess = truth.clone()
    guess[..., :3] = 0.1
    guess[1, 4:8, :, 3] = 0
    measured = compared(guess, truth)
    assert measured["psnr"].tolist() == pytest.approx([20.0, 20.0], abs=1e-3)
    assert measured["mask_iou"].tolist() == [1.0, 0.5]
    assert torch.equal(measured["ssim"], ssim(guess[..., :3], truth[..., :3]))
