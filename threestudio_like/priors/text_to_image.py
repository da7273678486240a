"""A small text-conditioned pixel prior: the role that DeepFloyd IF plays at full size.

The prompt and words for the view ("a cup, side view") become tokens for cross-attention.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from threestudio_like.priors.base import Condition
from threestudio_like.priors.pixels import Pixels, without
from threestudio_like.priors.sentence import Frozen
from threestudio_like.priors.text import Text, view_words
from threestudio_like.priors.unet import Denoiser
from threestudio_like.priors.weights import load
from threestudio_like.ranges import Share, Side
from threestudio_like.records import Camera, View
from threestudio_like.schedule.prediction import Prediction
from threestudio_like.schedule.vp import VP


class TextToImage(Pixels):
    """p(picture | prompt, view in words).

    prediction: what the denoiser says: eps, v or x0.
    dropout: share of examples trained without a prompt.
    weights: of a trained one: a name in bundled/ or a file; null for a new one.
    """

    def __init__(
        self,
        *,
        schedule: VP,
        size: Side,
        denoiser: Denoiser,
        prediction: Prediction,
        text: Text | Frozen,
        dropout: Share,
        weights: str | None,
    ) -> None:
        super().__init__(schedule=schedule, size=size, denoiser=denoiser)
        self.prediction = prediction
        self.text = text
        self.dropout = dropout
        if weights is not None:
            load(self, weights)

    def condition(self, prompts: list[str], camera: Camera, reference: View | None) -> Condition:
        """Tokens of the prompts with their view words; the reference is not used."""
        seen = zip(prompts, view_words(camera), strict=True)
        return Condition(tokens=self.text([f"{prompt}, {view}" for prompt, view in seen]))

    def null(self, condition: Condition) -> Condition:
        """The empty prompt, with no view either."""
        assert condition.tokens is not None
        return Condition(tokens=self.text([""]).expand_as(condition.tokens))

    def train_condition(self, condition: Condition, u: Float[Tensor, " B"]) -> Condition:
        """The empty prompt where u < dropout."""
        tokens, null = condition.tokens, self.null(condition).tokens
        assert tokens is not None and null is not None
        return Condition(tokens=without(tokens, null, u < self.dropout))
