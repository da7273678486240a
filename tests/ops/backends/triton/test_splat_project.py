"""project by Triton: Gaussians behind the camera and beside the picture, cameras that look off its middle."""

import pytest
import torch

from threestudio_like.ops import splat
from threestudio_like.ops.camera import crop, orbit


@pytest.mark.parametrize("num_views", [1, 3])
def test_values_and_gradients_are_the_reference_s(agrees, num_views):
    generator = torch.Generator().manual_seed(num_views)
    angles = torch.arange(num_views, dtype=torch.float32)
    lens = {"distance": torch.full_like(angles, 1.5), "fov_y": torch.full_like(angles, 0.9)}
    camera = orbit(azimuth=angles, elevation=0.3 * angles, **lens, height=41, width=53)
    camera = crop(camera, 3 * num_views - 3, 5, 37, 43)
    means = 3 * torch.rand(150, 3, generator=generator) - 1.5
    scales = 0.2 * torch.rand(150, 3, generator=generator) + 0.01
    rotations = torch.randn(150, 4, generator=generator)
    found = splat.project.reference(means, scales, rotations, camera, 0.2)
    assert 0.1 < (found.spreads > 0).float().mean() < 0.9
    agrees(splat.project, means, scales, rotations, camera, 0.2)
