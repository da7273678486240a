"""Base of the systems that train a denoiser: the loss, the samples and their pictures.

The loss is the mean squared error of what the network predicts (eps, v or x_0), at noise levels drawn by
`training.levels`. What is sampled, validated and exported is the average (EMA) of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from systems.base import Optimization, Weight
from systems.learn import Learn, Pace
from threestudio_like.guidance.cfg import Dual, Guided
from threestudio_like.loggers import plane
from threestudio_like.loggers.images import column, row
from threestudio_like.ops import camera
from threestudio_like.priors.base import Condition, Prior
from threestudio_like.priors.pixels import Pixels
from threestudio_like.ranges import Count, Positive, Seed, Share
from threestudio_like.records import Example, View
from threestudio_like.schedule.anneal import Schedule
from threestudio_like.schedule.levels import Levels
from threestudio_like.schedule.prediction import min_snr, target
from threestudio_like.schedule.samplers import Sampler, leading

SHOWN = 8  # columns of a grid of pictures
PLANE, POINTS, FIELD = 256, 2000, 20  # of pictures of the plane: pixels a side, points, arrows a side


class Training(NamedTuple):
    """How a denoiser learns.

    levels: which t; gamma: of min-SNR's weights, null for none; ema: how much the average keeps; pace: factor
    on the learning rates, at each step.
    """

    levels: Levels
    gamma: Positive | None
    ema: Share
    pace: Schedule


class Evaluation(NamedTuple):
    """steps: noise levels of a sample; sampler: the way through them; cfg: the guidance of samples;
    card: what is written beside exported weights."""

    steps: Count
    sampler: Sampler
    cfg: Guided
    card: Mapping[str, Any]


class Denoise(Learn):
    """Trains `prior`, a denoiser."""

    losses: ClassVar[tuple[str, ...]] = ("denoise",)
    prior: Pixels
    averaged: Pixels

    def __init__(
        self,
        *,
        prior: Pixels,
        training: Training,
        evaluation: Evaluation,
        seed: Seed,
        weights: Mapping[str, Weight],
        optimization: Optimization,
        draw_every: Count,
    ) -> None:
        super().__init__(
            prior=prior,
            pace=Pace(training.ema, training.pace),
            card=evaluation.card,
            seed=seed,
            weights=weights,
            optimization=optimization,
            draw_every=draw_every,
        )
        if isinstance(evaluation.sampler, nn.Module):  # which can be called, too
            given = type(evaluation.sampler).__name__
            raise ValueError(f"evaluation.sampler: expected a sampler, such as ddim; got a {given}")
        self.rules = training
        self.evaluation = evaluation

    def told(self, prior: Pixels, batch: Example) -> Condition:
        """What the denoiser is told about the targets of `batch`."""
        return prior.condition(batch.prompts, batch.target.camera, batch.reference)

    def compute(self, batch: Example) -> dict[str, Float[Tensor, ""]]:
        """The denoising loss."""
        return {"denoise": self.denoise_loss(self.prior, batch, self.told(self.prior, batch))}

    def denoise_loss(self, prior: Pixels, batch: Example, condition: Condition) -> Float[Tensor, ""]:
        """E w(t) |y - y_theta(x_t, t, c)|^2, with y what the network predicts, and parts of c dropped."""
        x = prior.encode(batch.target.rgba)
        t = self.rules.levels(batch.step, len(x), prior.schedule.num_steps).to(x.device)
        u, eps = torch.rand(len(x)).to(x.device), torch.randn(x.shape).to(x.device)
        raw = prior.raw(prior.schedule.noised(x, eps, t), t, prior.train_condition(condition, u))
        error = (raw - target(prior.prediction, x, eps, t, prior.schedule)).square().flatten(1).mean(1)
        if self.rules.gamma is not None:
            error = min_snr(prior.prediction, t, prior.schedule, self.rules.gamma) * error
        return error.mean()

    def sample(self, condition: Condition, noise: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """From the average."""
        return sampled(self.averaged, self.evaluation, condition, noise)

    def described(self) -> Mapping[str, Any]:
        """As the prior says."""
        return self.averaged.described()

    def score(self, batch: Example) -> dict[str, float]:
        """By name; a subclass adds its own."""
        return {"denoise": float(self.denoise_loss(self.averaged, batch, self.told(self.averaged, batch)))}

    def pictures(self, batch: Example) -> dict[str, Float[Tensor, "H W 3"]]:
        """Rows of the first examples: what is known, then the truth, then samples; or those in the plane."""
        if self.prior.shape == (2, 1, 1):
            return {"plane": row(self.panels(batch))}
        some = torch.arange(min(SHOWN, len(batch.prompts)))
        reference = None if batch.reference is None else chosen(batch.reference, some)
        first = Example(batch.step, batch.prompts[:SHOWN], chosen(batch.target, some), reference)
        return {"samples": column([row(line) for line in self.lines(first)])}

    def panels(self, batch: Example) -> list[Float[Tensor, "side side 3"]]:
        """Data, samples, and the score field where noise is middling and where it is least."""
        prior = self.averaged
        seen = prior.encode(batch.target.rgba)[:POINTS]
        made = self.sample(self.told(prior, batch), torch.randn(POINTS, *prior.shape).to(self.device))
        panels = [plane.scatter(points[..., 0, 0], PLANE) for points in (seen, made)]
        at = plane.lattice(FIELD).to(self.device)
        for level in (prior.schedule.num_steps // 2, 0):
            t = torch.full((len(at),), level, device=self.device)
            x_t = at[..., None, None] * prior.schedule.coefficients(t, at[..., None, None])[0]
            score = prior.schedule.score_from_eps(prior.predict(x_t, t, self.told(prior, batch)), t)
            panels.append(plane.arrows(at, score[..., 0, 0], PLANE))
        return panels

    def lines(self, batch: Example) -> list[Float[Tensor, "B H W 3"]]:
        """The rows of the grid."""
        prior = self.averaged
        condition = self.told(prior, batch)
        noise = torch.randn(len(batch.prompts), *prior.shape).to(self.device)
        truth = prior.decode(prior.encode(batch.target.rgba))
        return [truth[..., :3], prior.decode(self.sample(condition, noise))[..., :3]]


def chosen(view: View, index: Int[Tensor, " n"]) -> View:
    """Some pictures, in the order of `index`, with their cameras."""
    return View(camera.chosen(view.camera, index), view.rgb[index], view.alpha[index])


def sampled(
    prior: Prior, evaluation: Evaluation, condition: Condition, noise: Float[Tensor, "B C h w"]
) -> Float[Tensor, "B C h w"]:
    """By the configured sampler, with classifier-free guidance."""

    def eps(x_t: Tensor, t: Tensor) -> Tensor:
        return evaluation.cfg(prior, x_t, t, condition)

    levels = leading(prior.schedule.num_steps, evaluation.steps)
    # pure noise belongs to the last t: a chain that begins lower would expect some picture in it
    levels = [prior.schedule.num_steps - 1, *levels[1:]]
    return evaluation.sampler(eps, noise, levels, prior.schedule)


def dual(evaluation: Evaluation) -> Dual:
    """How it is guided, which must be by a picture and by words."""
    if not isinstance(evaluation.cfg, Dual):
        raise ValueError("evaluation.cfg: needs guidance by a picture and by words (Dual)")
    return evaluation.cfg
