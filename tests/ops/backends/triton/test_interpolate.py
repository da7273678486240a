"""interpolate by Triton: attributes of each view, or of all."""

import pytest
import torch

from threestudio_like.ops import raster


@pytest.mark.parametrize("shared", [True, False])
def test_values_and_gradients_are_the_reference_s(agrees, shared):
    generator = torch.Generator().manual_seed(0)
    faces = torch.randint(9, (7, 3), generator=generator)
    face = torch.randint(-1, 7, (2, 5, 6), generator=generator)
    weights = torch.rand(2, 5, 6, 2, generator=generator) / 2
    fragments = raster.Fragments(weights, torch.zeros(2, 5, 6, 1), face)
    attributes = torch.rand(*([] if shared else [2]), 9, 5, generator=generator)
    agrees(raster.interpolate, attributes, fragments, faces)
