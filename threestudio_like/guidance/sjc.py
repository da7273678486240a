"""Score Jacobian Chaining (Wang et al. 2022): the score of a picture, chained to the render's Jacobian.

With noise only added, z = x + sigma n, and D(z; sigma) the guess of x, the score is (D - z) / sigma^2.
A render is no noisy picture, so its score is averaged over perturbations (section 3.2):
E_n[(D(x + sigma n) - x) / sigma^2]. A prior whose noise preserves variance is asked at x_t = alpha z, where
sigma = sqrt((1 - alpha_bar) / alpha_bar).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from threestudio_like.guidance.base import Guidance, noised
from threestudio_like.guidance.cfg import Guided, joined
from threestudio_like.priors.base import Prior
from threestudio_like.ranges import Count
from threestudio_like.records import Camera, View
from threestudio_like.schedule.anneal import Number, Schedule
from threestudio_like.schedule.levels import Levels


class SJC(Guidance):
    """What one frozen prior's score says of a render; the gradient is w(t) times minus (score times sigma).

    With `reduced` it is SDS's, written otherwise. Weighting `uniform` is the official code's; `alpha/sigma`
    is the paper's plain score.

    Args beside Guidance's:
        perturbations: of each picture, averaged.
        reduced: leave out the noise's own part, (x - z) / sigma, whose mean is 0: less variance.
    """

    def __init__(
        self,
        *,
        prior: Prior,
        cfg: Guided,
        levels: Levels,
        weighting: str,
        grad_clip: Number | Schedule | None,
        perturbations: Count,
        reduced: bool,
    ) -> None:
        super().__init__(prior=prior, cfg=cfg, levels=levels, weighting=weighting, grad_clip=grad_clip)
        if perturbations < 1:
            raise ValueError(f"perturbations: at least 1, not {perturbations}")
        self.perturbations = perturbations
        self.reduced = reduced

    def forward(
        self,
        image: Float[Tensor, "B H W 4"],
        prompts: list[str],
        camera: Camera,
        reference: View | None,
        step: int,
    ) -> Float[Tensor, ""]:
        """The loss; its gradient with respect to the encoded picture is the chained score's, over B."""
        schedule, count = self.prior.schedule, self.perturbations
        x = torch.cat([self.prior.encode(image)] * count)
        with torch.no_grad():
            noisy = noised(x, self.levels, step, schedule)
            condition = joined([self.prior.condition(prompts, camera, reference)] * count)
            eps = self.cfg(self.prior, noisy.x_t, noisy.t, condition)
            alpha, sigma_t = schedule.coefficients(noisy.t, x)
            z, sigma = noisy.x_t / alpha, sigma_t / alpha
            denoised = schedule.x0_from_eps(noisy.x_t, eps, noisy.t)
            away = ((x if self.reduced else z) - denoised) / sigma
        return self.distilled(x, noisy.t, away, step)
