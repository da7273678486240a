import pytest
import torch

from threestudio_like.guidance.cfg import (
    CFG,
    Dual,
    Perpendicular,
    Rescaled,
    chosen,
    dual,
    joined,
    perpendicular,
    plus_one,
    rescaled,
    standard,
)
from threestudio_like.priors.base import Condition, Prior
from threestudio_like.schedule.samplers import ddim
from threestudio_like.schedule.vp import VP, scaled_linear


def pictures(count: int, batch: int = 4) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(batch, 4, 3, 3) * (i + 1) + i for i in range(count)]


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-5)


class Telling(Prior):
    """Predicts (tokens + 10 image) x_t, and remembers each call."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = VP(betas=scaled_linear(1000, 0.00085, 0.012))
        self.calls: list[torch.Tensor] = []

    def null(self, condition: Condition) -> Condition:
        return Condition(tokens=0 * condition.tokens, image=0 * condition.image)

    def predict(self, x_t, t, condition):
        assert len(x_t) == len(t) == len(condition.tokens) == len(condition.image)
        self.calls.append(condition.tokens[:, 0, 0])
        return (condition.tokens[:, :, :1, None] + 10 * condition.image[:, :1, :1, :1]) * x_t


def asking(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, Condition]:
    x_t = pictures(1, batch)[0]
    t = torch.arange(batch) * 100 + 500
    tokens = torch.arange(1.0, batch + 1).view(-1, 1, 1)
    return x_t, t, Condition(tokens=tokens, image=torch.ones(batch, 1, 3, 3))


def test_corners_of_the_two_usual_forms() -> None:
    cond, null = pictures(2)
    assert close(standard(cond, null, 1), cond) and close(standard(cond, null, 0), null)
    assert close(plus_one(cond, null, 0), cond) and close(plus_one(cond, null, -1), null)
    assert close(plus_one(cond, null, 20.0), standard(cond, null, 21.0))


def test_corners_of_the_dual_form() -> None:
    both, image, null = pictures(3)
    assert close(dual(both, image, null, 0, 0), null)
    assert close(dual(both, image, null, 1, 0), image)
    assert close(dual(both, image, null, 1, 1), both)
    assert close(dual(both, image, null, 3.0, 3.0), standard(both, null, 3.0))
    assert close(dual(both, both, null, 3.0, 7.0), standard(both, null, 3.0))  # words that add nothing


def test_rescaled_has_the_spread_of_the_condition_over_the_views_together() -> None:
    guided, cond = pictures(2)
    cond[0] *= 5
    assert close(rescaled(guided, cond, 0.0, 2), guided)
    full = rescaled(guided, cond, 1.0, 2)
    for views in (slice(0, 2), slice(2, 4)):
        assert close(full[views].std(), cond[views].std())
        ratio = full[views] / guided[views]
        assert close(ratio, ratio.mean().expand_as(ratio))  # views of one object share one factor
    assert not close(full[0].std(), cond[0].std())
    assert close(rescaled(guided, cond, 0.5, 2), (full + guided) / 2)


def test_perpendicular_negatives_leave_the_wanted_direction_alone() -> None:
    cond, null, first, second = pictures(4)
    weights = torch.rand(2, 4)
    out = perpendicular(cond, null, torch.stack([first, second]), weights, 7.5)
    wanted = cond - null
    along = ((out - null) * wanted).sum((1, 2, 3)) / wanted.square().sum((1, 2, 3))
    assert close(along, torch.full_like(along, 7.5))


def test_perpendicular_corners() -> None:
    cond, null, other = pictures(3)
    ones = torch.ones(1, 4)
    parallel = null - 3 * (cond - null)
    assert close(perpendicular(cond, null, parallel[None], ones, 2.0), standard(cond, null, 2.0))
    assert close(perpendicular(cond, null, other[None], 0 * ones, 2.0), standard(cond, null, 2.0))
    assert close(perpendicular(null, null, other[None], ones, 2.0), null - 2.0 * (other - null))  # no words
    wanted = cond - null
    across = torch.randn_like(wanted)
    across = across - (across * wanted).sum((1, 2, 3), True) / wanted.square().sum((1, 2, 3), True) * wanted
    out = perpendicular(cond, null, (null + across)[None], 0.3 * ones, 2.0)
    assert close(out, null + 2.0 * (wanted - 0.3 * across))


@pytest.mark.parametrize("form, guide", [("standard", standard), ("s+1", plus_one)])
def test_cfg_asks_once_the_condition_first(form, guide) -> None:
    prior, (x_t, t, condition) = Telling(), asking()
    out = CFG(form=form, scale=3.0)(prior, x_t, t, condition)
    assert [call.tolist() for call in prior.calls] == [[1.0, 2.0, 0.0, 0.0]]
    cond = (condition.tokens[:, :, :1, None] + 10) * x_t
    assert close(out, guide(cond, 0 * x_t, 3.0))


@pytest.mark.parametrize("form, scale", [("standard", 1.0), ("s+1", 0)])
def test_cfg_does_not_ask_for_what_cancels(form, scale) -> None:
    prior, (x_t, t, condition) = Telling(), asking()
    out = CFG(form=form, scale=scale)(prior, x_t, t, condition)
    assert [call.tolist() for call in prior.calls] == [[1.0, 2.0]]
    assert close(out, (condition.tokens[:, :, :1, None] + 10) * x_t)


def test_dual_drops_the_words_before_the_picture() -> None:
    prior, (x_t, t, condition) = Telling(), asking(1)
    out = Dual(image_scale=1.5, text_scale=7.5, within=[0.0, 1.0])(prior, x_t, t, condition)
    assert [call.tolist() for call in prior.calls] == [[1.0, 0.0, 0.0]]
    assert close(out, (1.5 * 10 + 7.5 * 1) * x_t)


def test_dual_guides_within_its_interval_only() -> None:
    prior, (x_t, t, condition) = Telling(), asking()
    plain = (condition.tokens[:, :, :1, None] + 10) * x_t
    guided = (1.5 * 10 + 7.5 * condition.tokens[:, :, :1, None]) * x_t
    dual, low, high = Dual(image_scale=1.5, text_scale=7.5, within=[0.4, 0.6]), 399 + 0 * t, 400 + 0 * t
    for outside in (low, 601 + 0 * t):
        assert close(dual(prior, x_t, outside, condition), plain)
    assert [len(call) for call in prior.calls] == [2, 2]  # what does not count is not asked for
    assert close(dual(prior, x_t, high, condition), guided)
    mixed = dual(prior, x_t, torch.tensor([399, 600]), condition)
    assert close(mixed, torch.stack([plain[0], guided[1]]))
    wordless = Dual(image_scale=1.5, text_scale=0.0, within=[0.4, 0.6])
    assert close(wordless(prior, x_t, low, condition), 10 * x_t)  # scales below 1 count everywhere
    assert close(wordless(prior, x_t, high, condition), 1.5 * 10 * x_t)


def test_perpendicular_pushes_away_from_the_words_that_a_prior_names() -> None:
    prior, (x_t, t, condition) = Telling(), asking()
    negatives, pushes = torch.rand(2, 3, 1, 1), torch.rand(2, 3)
    told = condition._replace(negatives=negatives, pushes=pushes)
    out = Perpendicular(scale=3.0)(prior, x_t, t, told)
    assert [len(call) for call in prior.calls] == [2 * (2 + 3)]  # one call for all

    def said(tokens: torch.Tensor) -> torch.Tensor:
        return prior.predict(x_t, t, condition._replace(tokens=tokens))

    cond, null = said(condition.tokens), prior.predict(x_t, t, prior.null(condition))
    others = torch.stack([said(negatives[:, k]) for k in range(3)])
    assert close(out, perpendicular(cond, null, others, pushes.T, 3.0))
    assert close(CFG(form="standard", scale=3.0)(prior, x_t, t, told), standard(cond, null, 3.0))
    with pytest.raises(ValueError, match="names nothing to push away"):
        Perpendicular(scale=3.0)(prior, x_t, t, condition)


def test_rescaled_works_on_pictures() -> None:
    prior, (x_t, t, condition) = Telling(), asking()
    out = Rescaled(scale=3.0, mix=1.0, num_views=2)(prior, x_t, t, condition)
    vp = prior.schedule
    cond = (condition.tokens[:, :, :1, None] + 10) * x_t
    assert close(vp.x0_from_eps(x_t, out, t).std(), vp.x0_from_eps(x_t, cond, t).std())


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="standard, s"):
        CFG(form="plus", scale=1.0)
    with pytest.raises(ValueError, match="mix"):
        Rescaled(scale=1.0, mix=1.5, num_views=1)


def test_conditions_are_joined_and_chosen_field_by_field() -> None:
    one, two = Condition(vector=torch.ones(2, 3)), Condition(vector=torch.zeros(2, 3))
    both = joined([one, two])
    assert both.tokens is None and both.image is None
    assert both.vector.tolist() == [[1.0] * 3] * 2 + [[0.0] * 3] * 2
    picked = chosen(one, two, torch.tensor([False, True]))
    assert picked.tokens is None and picked.vector.tolist() == [[0.0] * 3, [1.0] * 3]
    with pytest.raises(AssertionError, match="tokens"):
        joined([one, two._replace(tokens=torch.ones(2, 1, 1))])


class Joint(Prior):
    """(x, c_I, c_T) jointly Gaussian: x = 0.6 c_I + 0.5 c_T + 0.4 z, each of c_I, c_T and z standard normal.

    Told nothing x has variance 0.77, told c_I 0.41, told both 0.16: all three scores are in closed form.
    """

    image, words, rest = 0.6, 0.5, 0.4

    def __init__(self) -> None:
        super().__init__()
        self.schedule = VP(betas=scaled_linear(1000, 0.00085, 0.012))

    def null(self, condition: Condition) -> Condition:
        return Condition(
            tokens=torch.full_like(condition.tokens, torch.nan),
            image=torch.full_like(condition.image, torch.nan),
        )

    def moments(self, condition: Condition) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance of x; nan stands for what is not told."""
        told_image, told_words = condition.image, condition.tokens[..., None]
        mean = self.image * told_image.nan_to_num() + self.words * told_words.nan_to_num()
        return mean, self.rest**2 + self.image**2 * told_image.isnan() + self.words**2 * told_words.isnan()

    def predict(self, x_t, t, condition):
        mean, variance = self.moments(condition)
        alpha, sigma = self.schedule.coefficients(t, x_t)
        return sigma * (x_t - alpha * mean) / (alpha**2 * variance + sigma**2)


@pytest.mark.parametrize(
    "image_scale, text_scale", [(1.0, 1.0), (1.0, 0.0), (0.0, 0.0), (1.5, 3.0), (2.0, 0.5)]
)
def test_dual_guidance_of_a_jointly_gaussian_case(image_scale, text_scale) -> None:
    """The ODE is linear, dy/ds = s sum_k w_k (y - m_k) / (v_k + s^2), y = x_t / alpha, s = sigma / alpha:
    two starts draw nearer by prod_k (v_k / (v_k + s^2))^(w_k / 2), and the mean follows an integral.
    """
    prior = Joint()
    told = Condition(
        tokens=torch.full((1, 1, 1), 0.8).double(), image=torch.full((1, 1, 1, 1), -0.5).double()
    )
    null = prior.null(told)
    parts = [null, told._replace(tokens=null.tokens), told]
    means, variances = (torch.stack(each).flatten() for each in zip(*map(prior.moments, parts), strict=True))
    weights = torch.tensor([1 - image_scale, image_scale - text_scale, text_scale]).double()
    alpha_bar = prior.schedule.alpha_bar[-1].double()
    first = ((1 - alpha_bar) / alpha_bar).sqrt()

    def shrunk(s: torch.Tensor) -> torch.Tensor:
        return ((variances / (variances + s[..., None] ** 2)) ** (weights / 2)).prod(-1)

    s = torch.cat([torch.zeros(1), torch.logspace(-4, 0, 40001)]).double() * first
    pull = s * (weights * means / (variances + s[:, None] ** 2)).sum(-1)
    drift = torch.trapezoid(pull * shrunk(s), s)  # d/ds (shrunk y) = -shrunk pull

    guided = Dual(image_scale=image_scale, text_scale=text_scale, within=[0.0, 1.0])
    starts = torch.tensor([-1.0, 0.0, 1.0]).double().view(3, 1, 1, 1)
    condition = Condition(*(None if field is None else field.expand(3, *field.shape[1:]) for field in told))
    ends = ddim(
        lambda x_t, t: guided(prior, x_t, t, condition),
        starts,
        list(range(999, -1, -1)),
        prior.schedule,
        eta=0.0,
        clip=None,
    ).flatten()
    slope = shrunk(first) / alpha_bar.sqrt()
    torch.testing.assert_close(ends[2] - ends[1], slope, rtol=0.02, atol=0)
    torch.testing.assert_close(ends[1], drift, rtol=0.02, atol=5e-3)
    if image_scale == text_scale == 1.0:  # plainly told: N(mean, variance) from a standard normal start
        torch.testing.assert_close(slope, variances[2].double().sqrt(), rtol=0.02, atol=0)
