"""Zero-1-to-3 (Liu et al. 2023): trains a prior of a view given another view and the relative camera.

With a lift (or the control without geometry), an auxiliary head regresses the target from its features.
Validation prints the gate: samples must beat a copy of the input, and must need the pose.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from systems.denoise import Denoise, chosen
from threestudio_like.metrics.image import compared
from threestudio_like.priors.zero123 import Zero123
from threestudio_like.records import Camera, Example, View


class Zero123Training(Denoise):
    """Pairs of views in, a view-conditioned prior out."""

    losses: ClassVar[tuple[str, ...]] = ("denoise", "lift", "chroma")
    prior: Zero123
    averaged: Zero123

    def compute(self, batch: Example) -> dict[str, Float[Tensor, ""]]:
        """The denoising loss; the lift's regression of the target, and of its hues: these have a fiftieth of
        the variance, so that without a weight of their own they would be learnt last."""
        condition = self.told(self.prior, batch)
        losses = {"denoise": self.denoise_loss(self.prior, batch, condition)}
        if self.due("lift", batch.step):
            guess, truth = self.prior.regressed(condition), self.prior.encode(batch.target.rgba)
            losses |= {"lift": F.mse_loss(guess, truth), "chroma": F.mse_loss(hue(guess), hue(truth))}
        return losses

    def score(self, batch: Example) -> dict[str, float]:
        """The gate (a): what is shown, against what it must beat."""
        prior, reference = self.averaged, batch.reference
        assert reference is not None
        truth = prior.decode(prior.encode(batch.target.rgba))
        noise = torch.randn(len(truth), *prior.shape).to(self.device)
        other = torch.arange(len(truth)).roll(len(truth) // 2)  # wrong: those of other examples
        stranger = reference._replace(rgb=reference.rgb[other], alpha=reference.alpha[other])
        guesses = {
            "copied_input": prior.decode(prior.encode(reference.rgba)),
            "mean_picture": truth.mean(0, keepdim=True).expand_as(truth),
            "sample": self.seen(batch, batch.target.camera, reference, noise),
            "wrong_pose": self.seen(batch, chosen(batch.target, other).camera, reference, noise),
            "wrong_input": self.seen(batch, batch.target.camera, stranger, noise),
        }
        if prior.lift is not None:
            guesses["regression"] = prior.decode(prior.regressed(self.told(prior, batch)))
        scores = super().score(batch)
        for name, guess in guesses.items():
            means = {measure: float(values.mean()) for measure, values in compared(guess, truth).items()}
            scores |= {f"{name}/{measure}": mean for measure, mean in means.items()}
        return scores

    def seen(
        self, batch: Example, camera: Camera, reference: View, noise: Float[Tensor, "B C h w"]
    ) -> Float[Tensor, "B H W 4"]:
        """Samples from other cameras, or given other pictures, than the batch's own."""
        condition = self.averaged.condition(batch.prompts, camera, reference)
        return self.averaged.decode(self.sample(condition, noise))

    def lines(self, batch: Example) -> list[Float[Tensor, "B H W 3"]]:
        """Input, truth, sample, and what the lift alone tells."""
        prior = self.averaged
        assert batch.reference is not None
        given = prior.decode(prior.encode(batch.reference.rgba))
        rows = [given[..., :3], *super().lines(batch)]
        if prior.lift is not None:
            rows.append(prior.decode(prior.regressed(self.told(prior, batch)))[..., :3])
        return rows


def hue(x: Float[Tensor, "B 4 h w"]) -> Float[Tensor, "B 3 h w"]:
    """What is left of a colour without its lightness."""
    return x[:, :3] - x[:, :3].mean(dim=1, keepdim=True)
