"""Score distillation sampling (Poole et al. 2022, eq. 3): grad = w(t) (eps_hat(x_t; y, t) - eps)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from threestudio_like.guidance.base import Guidance, noised
from threestudio_like.records import Camera, View


class SDS(Guidance):
    """What one frozen prior says of a render."""

    def forward(
        self,
        image: Float[Tensor, "B H W 4"],
        prompts: list[str],
        camera: Camera,
        reference: View | None,
        step: int,
    ) -> Float[Tensor, ""]:
        """The loss; its gradient with respect to the encoded picture is SDS's, over B."""
        x = self.prior.encode(image)
        with torch.no_grad():
            noisy = noised(x, self.levels, step, self.prior.schedule)
            condition = self.prior.condition(prompts, camera, reference)
            eps = self.cfg(self.prior, noisy.x_t, noisy.t, condition)
        return self.distilled(x, noisy.t, eps - noisy.eps, step)
