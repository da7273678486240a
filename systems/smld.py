"""SMLD (Song and Ermon 2019): a network learns the score at every level of a noise ladder; Langevin samples.

x_i = x + sigma_i z, i uniform on the ladder; the loss is the mean of lambda(sigma_i) l(theta; sigma_i) with
lambda = sigma^2 (eq. 6), here by dimension. l is denoising score matching (eq. 5) or, with no trick of noise,
sliced (eq. 3; plain or variance-reduced, Song et al. 2019b) or exact (eq. 1), all at the noisy points.
Samples are annealed Langevin's (algorithm 1; schedule/langevin.py) and begin at sqrt(1 + sigma_1^2) z: the
pure noise of the chain that a ladder is to every sampler (priors/ncsn.py).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from systems.base import Optimization, Weight
from systems.denoise import Denoise, Evaluation, Training
from threestudio_like.losses import score as matching
from threestudio_like.losses.score import Score
from threestudio_like.priors.ncsn import NCSN
from threestudio_like.priors.pixels import Pixels
from threestudio_like.ranges import Count, Seed
from threestudio_like.records import Example
from threestudio_like.schedule.ve import largest_distance

log = logging.getLogger(__name__)
Objective = Literal["denoising", "sliced", "plain_sliced", "exact"]
MOST = 64  # dimensions of which `exact` takes the trace: each is one more backward pass


class SMLD(Denoise):
    """Trains `prior` by the objective; its level `loss/score` is that of one dimension.

    The floors of the objectives differ by a half: denoising has one, sliced and exact lack it.
    """

    losses: ClassVar[tuple[str, ...]] = ("score",)
    prior: NCSN
    averaged: NCSN

    def __init__(
        self,
        *,
        prior: NCSN,
        objective: Objective,
        training: Training,
        evaluation: Evaluation,
        seed: Seed,
        weights: dict[str, Weight],
        optimization: Optimization,
        draw_every: Count,
    ) -> None:
        super().__init__(
            prior=prior,
            training=training,
            evaluation=evaluation,
            seed=seed,
            weights=weights,
            optimization=optimization,
            draw_every=draw_every,
        )
        dimensions = math.prod(prior.shape)
        if objective == "exact" and dimensions > MOST:
            raise ValueError(
                f"objective: exact takes a backward pass for each of {dimensions} dimensions, too many above "
                f"{MOST}; choose denoising or sliced"
            )
        if training.gamma is not None:
            raise ValueError("training.gamma: SMLD weighs its levels by sigma^2 alone; leave it null")
        self.objective: Objective = objective

    def on_train_start(self) -> None:
        """Say where NCSNv2 would begin the ladder (Song and Ermon 2020, technique 1)."""
        held_out = [self.prior.encode(batch.target.rgba) for batch in self.trainer.val_dataloaders or ()]
        if sum(map(len, held_out)) > 1:
            start, distance = float(self.prior.ladder.sigmas[0]), largest_distance(torch.cat(held_out))
            log.info("the ladder begins at %.3g; two of the data are up to %.3g apart", start, distance)

    def compute(self, batch: Example) -> dict[str, Float[Tensor, ""]]:
        """The score matching loss."""
        return {"score": self.score_loss(self.prior, batch)}

    def score_loss(self, prior: Pixels, batch: Example) -> Float[Tensor, ""]:
        """E sigma_i^2 l(theta; sigma_i) / D."""
        assert isinstance(prior, NCSN)
        x = prior.encode(batch.target.rgba)
        t = self.rules.levels(batch.step, len(x), prior.schedule.num_steps).to(x.device)
        level, sigma = prior.noise_levels(t)
        z = torch.randn(x.shape).to(x.device)
        with torch.enable_grad():  # validation needs the derivatives of sliced and exact, too
            each = OBJECTIVES[self.objective](lambda y: prior.score(y, level), x, z, sigma)
        return (sigma**2 * each).mean() / x[0].numel()

    def score(self, batch: Example) -> dict[str, float]:
        """The loss of the averaged network."""
        return {"score": float(self.score_loss(self.averaged, batch).detach())}


def noisy(x: Float[Tensor, "B ..."], z: Float[Tensor, "B ..."], sigma: Float[Tensor, " B"]) -> Tensor:
    """x + sigma z."""
    return x + sigma.view(-1, *[1] * (x.ndim - 1)) * z


def sliced(score: Score, x: Tensor, z: Tensor, sigma: Tensor, *, variance_reduced: bool) -> Tensor:
    """Along random signs, one direction a point: of all v with E[v v^T] = 1 these estimate a trace best."""
    v = torch.randint(0, 2, x.shape).to(x) * 2 - 1
    return matching.sliced(score, noisy(x, z, sigma), v, variance_reduced=variance_reduced)


# (score, x, z, sigma) -> one value for each point
OBJECTIVES: dict[Objective, Callable[[Score, Tensor, Tensor, Tensor], Tensor]] = {
    "denoising": matching.denoising,
    "sliced": lambda score, x, z, sigma: sliced(score, x, z, sigma, variance_reduced=True),
    "plain_sliced": lambda score, x, z, sigma: sliced(score, x, z, sigma, variance_reduced=False),
    "exact": lambda score, x, z, sigma: matching.exact(score, noisy(x, z, sigma)),
}
