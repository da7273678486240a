"""InstructPix2Pix (Brooks et al. 2023): trains a prior of a picture given the one before and an instruction.

The loss is the denoiser's own, with instruction and picture dropped now and then. Validation says how near
samples come to the true picture, beside what no edit at all and another instruction give.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from systems.denoise import Denoise
from threestudio_like.metrics.image import compared
from threestudio_like.priors.instructpix2pix import InstructPix2Pix
from threestudio_like.records import Example


class InstructPix2PixTraining(Denoise):
    """Pictures before and after an edit in, an editing prior out."""

    prior: InstructPix2Pix
    averaged: InstructPix2Pix

    def score(self, batch: Example) -> dict[str, float]:
        """Samples against the true pictures, and what they must beat."""
        prior, reference = self.averaged, batch.reference
        assert reference is not None
        truth = prior.decode(prior.encode(batch.target.rgba))
        noise = torch.randn(len(truth), *prior.shape).to(self.device)
        half = len(truth) // 2
        guesses = {
            "copied_input": prior.decode(prior.encode(reference.rgba)),
            "sample": self.edited(batch, batch.prompts, noise),
            "wrong_words": self.edited(batch, batch.prompts[half:] + batch.prompts[:half], noise),
        }
        scores = super().score(batch)
        for name, guess in guesses.items():
            means = {measure: float(values.mean()) for measure, values in compared(guess, truth).items()}
            scores |= {f"{name}/{measure}": mean for measure, mean in means.items()}
        return scores

    def edited(
        self, batch: Example, instructions: list[str], noise: Float[Tensor, "B C h w"]
    ) -> Float[Tensor, "B H W 4"]:
        """Samples, told these instructions."""
        condition = self.averaged.condition(instructions, batch.target.camera, batch.reference)
        return self.averaged.decode(self.sample(condition, noise))

    def lines(self, batch: Example) -> list[Float[Tensor, "B H W 3"]]:
        """Before, truth, sample."""
        assert batch.reference is not None
        before = self.averaged.decode(self.averaged.encode(batch.reference.rgba))
        return [before[..., :3], *super().lines(batch)]
