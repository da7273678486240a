"""How near a picture is to the true one: PSNR, SSIM (Wang et al. 2004) and the overlap of the masks.

Pictures are B H W C in [0, 1]; each function returns one number for each of the B.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

WINDOW, SIGMA = 11, 1.5  # of SSIM's Gaussian, pixels
C1, C2 = 0.01**2, 0.03**2


def psnr(prediction: Float[Tensor, "B H W C"], truth: Float[Tensor, "B H W C"]) -> Float[Tensor, " B"]:
    """-10 log10 of the mean squared error over all pixels and channels, dB; infinite for equal pictures."""
    return -10 * torch.log10((prediction - truth).square().mean(dim=(1, 2, 3)))


def ssim(prediction: Float[Tensor, "B H W C"], truth: Float[Tensor, "B H W C"]) -> Float[Tensor, " B"]:
    """Structural similarity, eq. 13: the mean over channels and over pixels whose whole window is inside."""
    if min(prediction.shape[1:3]) < WINDOW:
        raise ValueError(f"ssim: needs {WINDOW} pixels a side at least, not {tuple(prediction.shape[1:3])}")
    mean_x, mean_y = blurred(prediction), blurred(truth)
    variance_x = blurred(prediction.square()) - mean_x.square()
    variance_y = blurred(truth.square()) - mean_y.square()
    covariance = blurred(prediction * truth) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x.square() + mean_y.square() + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def blurred(image: Float[Tensor, "B H W C"]) -> Float[Tensor, "B h w C"]:
    """The Gaussian means of all windows that are inside the picture."""
    offset = torch.arange(WINDOW, dtype=image.dtype, device=image.device) - (WINDOW - 1) / 2
    kernel = torch.exp(-(offset**2) / (2 * SIGMA**2))
    kernel = kernel / kernel.sum()
    channels = image.shape[-1]
    planes = image.permute(0, 3, 1, 2)
    planes = F.conv2d(planes, kernel.view(1, 1, -1, 1).expand(channels, -1, -1, -1), groups=channels)
    planes = F.conv2d(planes, kernel.view(1, 1, 1, -1).expand(channels, -1, -1, -1), groups=channels)
    return planes.permute(0, 2, 3, 1)


def mask_iou(prediction: Float[Tensor, "B H W 1"], truth: Float[Tensor, "B H W 1"]) -> Float[Tensor, " B"]:
    """Intersection over union of where alpha is at least one half; 1 where both are empty."""
    one, other = prediction >= 0.5, truth >= 0.5
    union = (one | other).sum(dim=(1, 2, 3))
    both = (one & other).sum(dim=(1, 2, 3)).to(truth.dtype)
    return torch.where(union > 0, both / union.clamp(min=1), 1.0)


def compared(
    prediction: Float[Tensor, "B H W 4"], truth: Float[Tensor, "B H W 4"]
) -> dict[str, Float[Tensor, " B"]]:
    """PSNR and SSIM of the colour over white, IoU of the masks."""
    return {
        "psnr": psnr(prediction[..., :3], truth[..., :3]),
        "ssim": ssim(prediction[..., :3], truth[..., :3]),
        "mask_iou": mask_iou(prediction[..., 3:], truth[..., 3:]),
    }
