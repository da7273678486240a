"""p(picture): a denoiser that is told nothing but the noise level (Ho et al. 2020)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from threestudio_like.priors.base import Condition
from threestudio_like.priors.pixels import Network, Pixels
from threestudio_like.priors.weights import load
from threestudio_like.ranges import Side
from threestudio_like.records import Camera, View
from threestudio_like.schedule.prediction import Prediction
from threestudio_like.schedule.vp import VP


class Unconditional(Pixels):
    """Prompts, cameras and references are not used, so guidance changes nothing.

    prediction: what the denoiser says: eps, v or x0.
    weights: of a trained one: a name in bundled/ or a file; null for a new one.
    """

    def __init__(
        self, *, schedule: VP, size: Side, denoiser: Network, prediction: Prediction, weights: str | None
    ) -> None:
        super().__init__(schedule=schedule, size=size, denoiser=denoiser)
        self.prediction = prediction
        if weights is not None:
            load(self, weights)

    def condition(self, prompts: list[str], camera: Camera, reference: View | None) -> Condition:
        """Nothing."""
        return Condition()

    def null(self, condition: Condition) -> Condition:
        """The same nothing."""
        return condition

    def train_condition(self, condition: Condition, u: Float[Tensor, " B"]) -> Condition:
        """Nothing to drop."""
        return condition
