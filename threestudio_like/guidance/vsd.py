"""Variational score distillation (Wang et al. 2023): w(t) (eps_pre(x_t; y, t) - eps_phi(x_t; y, t, c)).

eps_phi learns the score of the renders, with the camera c as condition, on the denoising loss.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from threestudio_like.guidance.base import Fitting, Guidance, Noised, noised
from threestudio_like.guidance.cfg import Guided
from threestudio_like.priors.base import Learner, Prior
from threestudio_like.records import Camera, View
from threestudio_like.schedule.anneal import Number, Schedule
from threestudio_like.schedule.levels import Levels


class VSD(Guidance):
    """A frozen prior against a learner of what is rendered now; only the learner is trained and saved.

    Args beside Guidance's:
        learner: makes eps_phi from the frozen prior, such as `priors.lora.LoRA` without its prior.
        fitting: how eps_phi is trained.
    """

    def __init__(
        self,
        *,
        prior: Prior,
        cfg: Guided,
        levels: Levels,
        weighting: str,
        grad_clip: Number | Schedule | None,
        learner: Callable[..., Learner],
        fitting: Fitting,
    ) -> None:
        super().__init__(prior=prior, cfg=cfg, levels=levels, weighting=weighting, grad_clip=grad_clip)
        self.learner = learner(prior=prior)
        self.fitting = fitting

    def forward(
        self,
        image: Float[Tensor, "B H W 4"],
        prompts: list[str],
        camera: Camera,
        reference: View | None,
        step: int,
    ) -> Float[Tensor, ""]:
        """The loss that moves the scene; the learner gets no gradient from it."""
        x = self.prior.encode(image)
        with torch.no_grad():
            noisy = noised(x, self.levels, step, self.prior.schedule)
            eps_pre = self.wanted(noisy, prompts, camera, reference)
            condition = self.learner.condition(prompts, camera, reference)
            eps_phi = self.learner.predict(noisy.x_t, noisy.t, condition)
        return self.distilled(x, noisy.t, eps_pre - eps_phi, step)

    def wanted(
        self, noisy: Noised, prompts: list[str], camera: Camera, reference: View | None
    ) -> Float[Tensor, "B C h w"]:
        """eps_pre: what the pictures should look like."""
        condition = self.prior.condition(prompts, camera, reference)
        return self.cfg(self.prior, noisy.x_t, noisy.t, condition)

    def fit(
        self,
        image: Float[Tensor, "B H W 4"],
        prompts: list[str],
        camera: Camera,
        reference: View | None,
        step: int,
    ) -> Float[Tensor, ""]:
        """The learner's own loss on the renders; the scene gets no gradient from it."""
        with torch.no_grad():
            x = self.prior.encode(image)
            condition = self.learner.condition(prompts, camera, reference)
        return self.fitting.loss(self.learner, x, condition, step)
