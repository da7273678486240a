import pytest
import torch

from threestudio_like.guidance.cfg import (
    CFG,
    Dual,
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
    out = Dual(image_scale=1.5, text_scale=7.5)(prior, x_t, t, condition)
    assert [call.tolist() for call in prior.calls] == [[1.0, 0.0, 0.0]]
    assert close(out, (1.5 * 10 + 7.5 * 1) * x_t)


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
