"""What distillations share: noise a render, weigh a difference of two predictions, turn it into a loss.

grad = w(t) (eps_hat - eps_other); loss = 0.5 |x - sg(x - grad)|^2 / B has the gradient grad / B and no other.
It is a sum over the picture's elements, so a weight means something else for a space of another size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.guidance.cfg import Guided, chosen
from threestudio_like.priors.base import Borrower, Condition, Learner, Prior
from threestudio_like.ranges import Share
from threestudio_like.schedule.anneal import Number, Schedule, as_schedule
from threestudio_like.schedule.levels import Levels
from threestudio_like.schedule.vp import VP

# w as a function of alpha_bar; `sigma/alpha` is the gradient of 0.5 |x - sg(x_0)|^2, and `alpha/sigma` minus
# the score, where noise is only added
WEIGHTINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "1-alpha_bar": lambda alpha_bar: 1 - alpha_bar,
    "uniform": torch.ones_like,
    "sigma/alpha": lambda alpha_bar: ((1 - alpha_bar) / alpha_bar).sqrt(),
    "alpha/sigma": lambda alpha_bar: (alpha_bar / (1 - alpha_bar)).sqrt(),
    "alpha*sigma^2": lambda alpha_bar: alpha_bar.sqrt() * (1 - alpha_bar),
}


class Noised(NamedTuple):
    """x_t = alpha x + sigma eps at levels t."""

    t: Int[Tensor, " B"]
    eps: Float[Tensor, "B C h w"]
    x_t: Float[Tensor, "B C h w"]


class Guidance(Borrower):
    """Base of the distillations.

    Args:
        prior: frozen from here on; not part of the state.
        cfg: its classifier-free guidance.
        levels: which noise level at a step.
        weighting: w(t), by name.
        grad_clip: bound of each element of the gradient; null for none.
    """

    def __init__(
        self,
        *,
        prior: Prior,
        cfg: Guided,
        levels: Levels,
        weighting: str,
        grad_clip: Number | Schedule | None,
    ) -> None:
        super().__init__(prior=prior)
        if weighting not in WEIGHTINGS:
            raise ValueError(f"weighting: no {weighting!r}; choose one of {', '.join(WEIGHTINGS)}")
        self.cfg = cfg
        self.levels = levels
        self.weighting = weighting
        self.grad_clip = None if grad_clip is None else as_schedule(grad_clip)

    def distilled(
        self,
        x: Float[Tensor, "B C h w"],
        t: Int[Tensor, " B"],
        difference: Float[Tensor, "B C h w"],
        step: int,
    ) -> Float[Tensor, ""]:
        """The loss whose gradient is w(t) times `difference`, over B; NaN where that is not finite.

        A bound of the gradient does not make a number of an infinity: who trains must see it, and skip.
        """
        w = WEIGHTINGS[self.weighting](self.prior.schedule.alpha_bar[t])
        grad = w.view(-1, 1, 1, 1).to(x.dtype) * difference
        if self.grad_clip is not None:
            bound = self.grad_clip(step)
            grad = torch.where(torch.isfinite(grad), grad.clamp(-bound, bound), torch.nan)
        return 0.5 * F.mse_loss(x, (x - grad).detach(), reduction="sum") / len(x)


class Fitting:
    """How a learner is trained: on |eps_phi(x_t; y, t, c) - eps|^2, a mean over elements (DDPM, eq. 14).

    Args:
        levels: noise levels it is trained at.
        dropout: how often it is told nothing, so that it can be guided.
        camera_dropout: how often it is told all but the camera.
    """

    def __init__(self, *, levels: Levels, dropout: Share, camera_dropout: Share) -> None:
        if dropout < 0 or camera_dropout < 0 or dropout + camera_dropout > 1:
            raise ValueError(f"fitting: dropouts are shares of one whole, not {dropout} and {camera_dropout}")
        self.levels, self.dropout, self.camera_dropout = levels, dropout, camera_dropout

    def loss(
        self, learner: Learner, x: Float[Tensor, "B C h w"], condition: Condition, step: int
    ) -> Float[Tensor, ""]:
        """Of the learner on the pictures x; only the learner gets a gradient."""
        with torch.no_grad():
            noisy = noised(x, self.levels, step, learner.schedule)
            u = torch.rand(len(x)).to(x.device)
            blind = u < self.dropout + self.camera_dropout
            told = chosen(learner.without_camera(condition), condition, blind)
            told = chosen(learner.null(condition), told, u < self.dropout)
        return F.mse_loss(learner.predict(noisy.x_t, noisy.t, told), noisy.eps)


def noised(x: Float[Tensor, "B C h w"], levels: Levels, step: int, schedule: VP) -> Noised:
    """Fresh noise at the levels of this step."""
    t = levels(step, len(x), schedule.num_steps).to(x.device)
    eps = torch.randn_like(x)
    return Noised(t, eps, schedule.noised(x, eps, t))
