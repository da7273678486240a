"""The plainest material: a point's colour is its first three features through a sigmoid, without light."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Plain(nn.Module):
    """Colour without shading, the same from every side."""

    def forward(
        self,
        features: Float[Tensor, "N C"],
        normals: Float[Tensor, "N 3"] | None,
        directions: Float[Tensor, "N 3"],
    ) -> Float[Tensor, "N 3"]:
        """RGB in [0, 1]; normals and directions are for materials that shade."""
        return torch.sigmoid(features[:, :3])
