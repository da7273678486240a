"""NCSN: the score of pictures at every level of a noise ladder, by one network (Song and Ermon 2019, 3.1).

s(x, i) = -eps(x / sqrt(1 + sigma_i^2), i) / sigma_i. Dividing by sigma is NCSNv2's technique 3; with the
input at unit scale the network sees what one of DDPM's does. So it is a Prior, too: that of the VP chain with
alpha_bar = 1 / (1 + sigma^2), t = L - 1 - level, and every sampler and guidance can use it.
"""

from __future__ import annotations

import math

from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.priors.base import Condition
from threestudio_like.priors.pixels import Network
from threestudio_like.priors.unconditional import Unconditional
from threestudio_like.ranges import Side
from threestudio_like.schedule.ve import VE, Overlapping, betas
from threestudio_like.schedule.vp import VP

LEAST = 1e-3  # noise of pictures in [-1, 1] that float32 still tells from none: alpha_bar is 1 - sigma^2


class NCSN(Unconditional):
    """A noise-conditional score network of pictures in [-1, 1].

    ladder: the noise levels, of pictures on that scale: the paper's 1 to 0.01 is for [0, 1]. An
    overlapping one has as many as the pictures' dimensions ask for.
    weights: of a trained one, by the same ladder; null for a new one.
    """

    def __init__(
        self, *, ladder: VE | Overlapping, size: Side, denoiser: Network, weights: str | None
    ) -> None:
        if isinstance(ladder, Overlapping):
            ladder = ladder.ladder(math.prod((denoiser.channels, size, size)))
        if ladder.sigmas[-1] < LEAST:
            raise ValueError(f"ladder: ends at {float(ladder.sigmas[-1]):.4g}; expected {LEAST:g} or more")
        schedule = VP(betas=betas(ladder.sigmas))
        super().__init__(schedule=schedule, size=size, denoiser=denoiser, prediction="eps", weights=weights)
        self.ladder = ladder

    def score(self, x: Float[Tensor, "B C h w"], level: Int[Tensor, " B"]) -> Float[Tensor, "B C h w"]:
        """grad log of the density of pictures with noise sigma_level added, at x."""
        sigma = self.ladder.deviation(level, x)
        eps = self.predict(x / (1 + sigma**2).sqrt(), self.ladder.num_levels - 1 - level, Condition())
        return -eps / sigma

    def noise_levels(self, t: Int[Tensor, " B"]) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
        """(level, sigma) of t."""
        level = self.ladder.num_levels - 1 - t
        return level, self.ladder.sigmas[level]
