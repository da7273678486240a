"""antialias by Triton: outlines in front of nothing and of other faces, a fine mesh, both windings."""

import pytest
import torch

from threestudio_like.ops import raster


def case(num_views, rings, around, height, width):
    """Fragments of a bumpy closed surface before a large triangle, and a picture."""
    generator = torch.Generator().manual_seed(num_views)
    theta, phi = (torch.arange(rings) + 0.5) * torch.pi / rings, torch.arange(around) * 2 * torch.pi / around
    x, y = theta.sin()[:, None] * phi.cos(), theta.sin()[:, None] * phi.sin()
    surface = torch.stack([x, y, theta.cos()[:, None].expand_as(x)], dim=-1).reshape(-1, 3)
    surface = surface * (0.5 + 0.3 * torch.rand(len(surface), 1, generator=generator))
    i, j = torch.meshgrid(torch.arange(rings - 1), torch.arange(around), indexing="ij")
    a, b = (i * around + j).reshape(-1), (i * around + (j + 1) % around).reshape(-1)
    faces = torch.cat([torch.stack([a, a + around, b], 1), torch.stack([b, a + around, b + around], 1)])
    faces = torch.cat([faces, len(surface) + torch.tensor([[0, 1, 2]])])
    behind = torch.tensor([[-1.0, -0.9, 0.0], [1.2, -0.3, 0.5], [-0.2, 1.0, 0.3]])
    turns = torch.linalg.qr(torch.randn(num_views, 3, 3, generator=generator)).Q
    xyz = torch.cat([surface @ turns, behind.expand(num_views, 3, 3)], dim=1) + torch.tensor([0.0, 0.0, 1.6])
    clip_z = xyz[..., 2:] * 10.2 / 9.8 - 2.0 / 9.8
    positions = torch.cat([2 * xyz[..., :2], clip_z, xyz[..., 2:]], dim=-1)
    fragments = raster.rasterize.reference(positions, faces, height, width)
    return torch.rand(num_views, height, width, 3, generator=generator), fragments, positions, faces


@pytest.mark.parametrize("shape", [(1, 6, 9, 17, 22), (2, 12, 16, 9, 8)])
def test_values_and_gradients_are_the_reference_s(agrees, shape):
    image, *rest = case(*shape)
    assert (raster.antialias.reference(image, *rest) - image).abs().max() > 0.1
    agrees(raster.antialias, image, *rest)
