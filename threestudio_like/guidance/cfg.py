"""Classifier-free guidance, every form once (Ho and Salimans 2022, and those who changed it).

e_c is the conditional prediction of the noise, e_u the unconditional one. The forms are pure functions; the
classes run a prior on all the conditions a form needs in one call.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.priors.base import Condition, Prior
from threestudio_like.ranges import Shares
from threestudio_like.schedule.anneal import Number

Eps = Float[Tensor, "B C h w"]
# (prior, x_t, t, condition) -> eps
Guided = Callable[[Prior, Tensor, Tensor, Condition], Tensor]


def standard(cond: Eps, null: Eps, scale: Number) -> Eps:
    """e_u + s (e_c - e_u): 1 is the plain condition (threestudio's VSD and Zero123; diffusers)."""
    return null + scale * (cond - null)


def plus_one(cond: Eps, null: Eps, scale: Number) -> Eps:
    """e_c + s (e_c - e_u): 0 is the plain condition (threestudio's plain branch of SD and IF)."""
    return cond + scale * (cond - null)


def dual(both: Eps, image: Eps, null: Eps, image_scale: Number, text_scale: Number) -> Eps:
    """e_u + s_I (e_I - e_u) + s_T (e_IT - e_I): the picture, then the words (InstructPix2Pix, eq. 3)."""
    return null + image_scale * (image - null) + text_scale * (both - image)


def rescaled(guided: Eps, cond: Eps, mix: Number, num_views: int) -> Eps:
    """Give pictures x_0 under guidance, in part, the spread of the conditional ones (Lin et al. 2023, 3.4).

    The spread is taken over each object's `num_views` neighbours in the batch together, as MVDream does.
    """

    def spread(x: Tensor) -> Tensor:
        groups = x.unflatten(0, (-1, num_views)).std(dim=(1, 2, 3, 4))
        return groups.repeat_interleave(num_views).view(-1, 1, 1, 1)

    return mix * guided * (spread(cond) / spread(guided)) + (1 - mix) * guided


def perpendicular(
    cond: Eps,
    null: Eps,
    negatives: Float[Tensor, "K B C h w"],
    weights: Float[Tensor, "K B"],
    scale: Number,
) -> Eps:
    """e_u + s (d - sum_k w_k d_k'), d = e_c - e_u, d_k' what is orthogonal to d in e_k - e_u.

    Perp-Neg (Armandpour et al. 2023); K negatives, weights positive to push away.
    """
    wanted = cond - null
    unwanted = negatives - null
    along = (unwanted * wanted).sum(dim=(2, 3, 4), keepdim=True)
    length = wanted.square().sum(dim=(1, 2, 3), keepdim=True)
    across = (
        unwanted - along / length.clamp(min=torch.finfo(length.dtype).tiny) * wanted
    )  # d = 0: of no words
    return null + scale * (wanted - (weights[..., None, None, None] * across).sum(dim=0))


FORMS = {"standard": standard, "s+1": plus_one}


class CFG:
    """Guidance by one condition; `form` is `standard` or `s+1`."""

    def __init__(self, *, form: str, scale: Number) -> None:
        if form not in FORMS:
            raise ValueError(f"cfg.form: no form {form!r}; choose one of {', '.join(FORMS)}")
        self.form, self.scale = form, scale
        self._plain = scale == (1 if form == "standard" else 0)  # e_u cancels: no need to ask for it

    def __call__(self, prior: Prior, x_t: Eps, t: Int[Tensor, " B"], condition: Condition) -> Eps:
        """The guided noise."""
        if self._plain:
            return prior.predict(x_t, t, condition)
        cond, null = asked(prior, x_t, t, [condition, prior.null(condition)])
        return FORMS[self.form](cond, null, self.scale)


class Dual:
    """Guidance by a picture and by words: the words are what `tokens` say.

    within: the noise, in shares of T, where scales above 1 count (Kynkaanniemi et al. 2024); elsewhere they
    are 1.
    """

    def __init__(self, *, image_scale: Number, text_scale: Number, within: Shares) -> None:
        self.image_scale, self.text_scale, self.within = image_scale, text_scale, within

    def at(self, image_scale: Number, text_scale: Number) -> Dual:
        """The same, by other scales."""
        return Dual(image_scale=image_scale, text_scale=text_scale, within=self.within)

    def __call__(self, prior: Prior, x_t: Eps, t: Int[Tensor, " B"], condition: Condition) -> Eps:
        """The guided noise."""
        low, high = (share * prior.schedule.num_steps for share in self.within)
        inside = (low <= t) & (t <= high)
        outer = min(self.image_scale, 1), min(self.text_scale, 1)
        if not inside.any() and outer == (1, 1):
            return prior.predict(x_t, t, condition)
        null = prior.null(condition)
        conditions = [condition, condition._replace(tokens=null.tokens), null]
        both, image, nothing = asked(prior, x_t, t, conditions)
        guided = dual(both, image, nothing, self.image_scale, self.text_scale)
        return torch.where(inside.view(-1, 1, 1, 1), guided, dual(both, image, nothing, *outer))


class Perpendicular:
    """Perp-Neg: guidance by words, and away from the words of neighbouring views (`words.Perpendicular`)."""

    def __init__(self, *, scale: Number) -> None:
        self.scale = scale

    def __call__(self, prior: Prior, x_t: Eps, t: Int[Tensor, " B"], condition: Condition) -> Eps:
        """The guided noise."""
        if condition.negatives is None or condition.pushes is None:
            name = type(prior).__name__
            raise ValueError(f"cfg: {name} names nothing to push away; its `words` must be `perpendicular`")
        others = [condition._replace(tokens=tokens) for tokens in condition.negatives.unbind(1)]
        cond, null, *negatives = asked(prior, x_t, t, [condition, prior.null(condition), *others])
        return perpendicular(cond, null, torch.stack(negatives), condition.pushes.T, self.scale)


class Rescaled:
    """Standard guidance whose picture x_0 is then rescaled (MVDream: mix 0.5, 4 views)."""

    def __init__(self, *, scale: Number, mix: Number, num_views: int) -> None:
        if not 0 <= mix <= 1:
            raise ValueError(f"cfg.mix: needs a number between 0 and 1, not {mix}")
        self.scale, self.mix, self.num_views = scale, mix, num_views

    def __call__(self, prior: Prior, x_t: Eps, t: Int[Tensor, " B"], condition: Condition) -> Eps:
        """The guided noise."""
        cond, null = asked(prior, x_t, t, [condition, prior.null(condition)])
        vp = prior.schedule
        x0 = vp.x0_from_eps(x_t, standard(cond, null, self.scale), t)
        return vp.eps_from_x0(x_t, rescaled(x0, vp.x0_from_eps(x_t, cond, t), self.mix, self.num_views), t)


def asked(prior: Prior, x_t: Tensor, t: Tensor, conditions: list[Condition]) -> list[Tensor]:
    """The prior's prediction under each condition, in the given order, in one call."""
    count = len(conditions)
    told = joined([each._replace(negatives=None, pushes=None) for each in conditions])
    eps = prior.predict(x_t.repeat(count, 1, 1, 1), t.repeat(count), told)
    return list(eps.chunk(count))


def joined(conditions: list[Condition]) -> Condition:
    """Conditions one after another in one batch; all must have the same fields."""
    fields = []
    for name, values in zip(Condition._fields, zip(*conditions, strict=True), strict=True):
        present = [value for value in values if value is not None]
        assert len(present) in (0, len(values)), f"conditions disagree on whether there is {name}"
        fields.append(torch.cat(present) if present else None)
    return Condition(*fields)


def chosen(yes: Condition, no: Condition, where: Tensor) -> Condition:
    """Sample by sample, `yes` where `where` is true, else `no`."""

    def pick(a: Tensor | None, b: Tensor | None) -> Tensor | None:
        assert (a is None) == (b is None), "conditions disagree on what there is"
        if a is None or b is None:
            return None
        return torch.where(where.view(-1, *[1] * (a.ndim - 1)), a, b)

    return Condition(*(pick(a, b) for a, b in zip(yes, no, strict=True)))
