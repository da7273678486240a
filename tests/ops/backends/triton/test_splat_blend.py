"""blend by Triton: several squares and views, more Gaussians than are drawn at once, pixels that end."""

import pytest
import torch

from threestudio_like.ops import dispatch, splat
from threestudio_like.records import Footprints


def case(num_views, count, channels, height, width, opaque):
    """Gaussians in and around pictures, some unseen; every third as near as the one before."""
    generator = torch.Generator().manual_seed(count)
    size = torch.tensor([width, height])
    centers = 1.4 * (torch.rand(num_views, count, 2, generator=generator) - 0.15) * size
    thin = torch.rand(2, num_views, count, generator=generator)
    xx, yy = 0.02 + 0.2 * thin
    xy = 0.6 * (xx * yy).sqrt() * (2 * torch.rand(num_views, count, generator=generator) - 1)
    spreads = (torch.stack([yy, xx], dim=-1) / (xx * yy - xy**2)[..., None]).sqrt()
    spreads[:, ::11] = 0
    depths = 1 + torch.rand(num_views, count, generator=generator)
    depths[:, 1::3] = depths[:, : depths[:, 1::3].shape[1] * 3 : 3]
    prints = Footprints(centers, torch.stack([xx, xy, yy], dim=-1), depths, spreads)
    opacities = torch.linspace(opaque, 1, count)
    return prints, opacities, torch.rand(num_views, count, channels, generator=generator), height, width


@pytest.mark.parametrize("shape", [(2, 20, 3, 13, 21, 0.0), (1, 45, 2, 9, 11, 0.5)], ids=["views", "opaque"])
def test_values_and_gradients_are_the_reference_s(agrees, shape):
    agrees(splat.blend, *case(*shape))


def test_opaque_pixels_end():
    """So the second case above reaches the end of pixels."""
    *_, alpha = splat.blend.reference(*case(1, 45, 2, 9, 11, 0.5))
    assert alpha.max() > 0.999


def test_nothing_to_draw(device):
    prints, opacities, values, height, width = case(1, 4, 3, 9, 11, 0.0)
    unseen = prints._replace(spreads=torch.zeros_like(prints.spreads))
    moved = [tensor.to(device) for tensor in (*unseen, opacities, values)]
    sums, alpha = dispatch._load("blend", "triton")(Footprints(*moved[:4]), *moved[4:], height, width)
    assert sums.shape == (1, 9, 11, 3)
    assert sums.abs().max() == alpha.abs().max() == 0
