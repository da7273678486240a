"""Pictures of a scene edited by instruction, for Instruct-NeRF2NeRF (Haque et al. 2023, section 4.1).

The scene's render is noised to some level and denoised again, told the original picture and the instruction.
The prior's pictures are small: what it changed is enlarged and added to the original, which keeps its detail.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.guidance.cfg import Guided
from threestudio_like.priors.base import Borrower, Prior
from threestudio_like.ranges import Count
from threestudio_like.records import View
from threestudio_like.schedule.levels import Levels
from threestudio_like.schedule.samplers import Sampler, from_level


class Edit(Borrower):
    """Asks a frozen editing prior.

    cfg: its guidance, by picture and words. levels: how much noise at a step, the same for all pictures of a
    call. steps: at most so many levels down from there. sampler: the way through them.
    """

    def __init__(self, *, prior: Prior, cfg: Guided, levels: Levels, steps: Count, sampler: Sampler) -> None:
        super().__init__(prior=prior)
        self.cfg, self.levels, self.steps, self.sampler = cfg, levels, steps, sampler

    @torch.no_grad()
    def forward(
        self, image: Float[Tensor, "B H W 4"], original: View, instruction: str, step: int
    ) -> Float[Tensor, "B H W 4"]:
        """The originals, edited; `image` is what the scene shows from their cameras (`Render.rgba`)."""
        prior = self.prior
        condition = prior.condition([instruction] * len(image), original.camera, original)
        x = prior.encode(image)
        level = int(self.levels(step, 1, prior.schedule.num_steps))
        t = torch.full((len(x),), level, device=x.device)
        x_t = prior.schedule.noised(x, torch.randn(x.shape).to(x.device), t)

        def eps(x_t: Tensor, t: Tensor) -> Tensor:
            return self.cfg(prior, x_t, t, condition)

        found = self.sampler(eps, x_t, from_level(level, self.steps), prior.schedule)
        change = prior.decode(found) - prior.decode(prior.encode(original.rgba))
        large = F.interpolate(change.permute(0, 3, 1, 2), image.shape[1:3], mode="bilinear", antialias=True)
        return (original.rgba + large.permute(0, 2, 3, 1)).clamp(0, 1)
