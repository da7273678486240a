"""A prior without a network: its pictures are N(mean, std^2) in every element, and its eps is exact.

Whatever samples or guides can be checked against closed forms with it. Told anything, it believes in `mean`;
told nothing (its null condition), in `null_mean`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.priors.base import Condition, Prior
from threestudio_like.records import Camera, View
from threestudio_like.schedule.oracle import gaussian_eps
from threestudio_like.schedule.vp import VP


class Oracle(Prior):
    """Gaussian pictures of 4 channels, `size` a side, on the scale [0, 1] of the house's own pictures."""

    def __init__(self, *, schedule: VP, size: int, mean: float, null_mean: float, std: float) -> None:
        super().__init__()
        self.schedule, self.shape = schedule, (4, size, size)
        self.mean, self.null_mean, self.std = mean, null_mean, std

    def encode(self, image: Float[Tensor, "B H W 4"]) -> Float[Tensor, "B C h w"]:
        """The picture itself, averaged down to size."""
        return torch.nn.functional.interpolate(image.permute(0, 3, 1, 2), self.shape[1:], mode="area")

    def decode(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B H W 4"]:
        """The picture itself."""
        return x.permute(0, 2, 3, 1)

    def condition(self, prompts: list[str], camera: Camera, reference: View | None) -> Condition:
        """The mean to believe in."""
        return Condition(vector=camera.c2w.new_full((len(prompts), 1), self.mean))

    def null(self, condition: Condition) -> Condition:
        """The mean without a condition."""
        assert condition.vector is not None
        return Condition(vector=torch.full_like(condition.vector, self.null_mean))

    def predict(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], condition: Condition
    ) -> Float[Tensor, "B C h w"]:
        """Exact eps."""
        assert condition.vector is not None
        return gaussian_eps(x_t, t, self.schedule, condition.vector[..., None, None], self.std)
