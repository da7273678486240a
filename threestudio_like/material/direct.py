"""Features that are colours already, around grey: what Gaussians carry (Kerbl et al. 2023)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class Direct(nn.Module):
    """Adds one half to the first three features, without light; the direction is in them already."""

    def forward(
        self,
        features: Float[Tensor, "N C"],
        normals: Float[Tensor, "N 3"] | None,
        directions: Float[Tensor, "N 3"],
    ) -> Float[Tensor, "N 3"]:
        """RGB in [0, 1]; normals and directions are for materials that shade."""
        return (features[:, :3] + 0.5).clamp(0, 1)
