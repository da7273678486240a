import pytest
import torch

from threestudio_like.schedule.anneal import linear
from threestudio_like.schedule.levels import Annealed, Power, Uniform


def test_uniform_reaches_both_ends_and_is_even() -> None:
    torch.manual_seed(0)
    t = Uniform(low=0.2, high=0.5)(0, 40_000, 10)
    assert t.dtype == torch.int64
    counts = torch.bincount(t, minlength=10)
    assert counts[:2].sum() == counts[6:].sum() == 0
    assert torch.allclose(counts[2:6] / 40_000, torch.tensor(0.25), atol=0.01)


def test_uniform_follows_its_schedules() -> None:
    levels = Uniform(
        low=linear(start=0.7, end=0.2, begin=0, until=200),
        high=linear(start=0.85, end=0.5, begin=0, until=200),
    )
    for step, low, high in [(0, 700, 850), (100, 450, 675), (1000, 200, 500)]:
        t = levels(step, 5000, 1000)
        assert low <= t.min() < low + 5 and high - 5 < t.max() <= high


def test_the_last_level_exists() -> None:
    torch.manual_seed(0)
    t = Uniform(low=0.0, high=1.0)(0, 1000, 10)
    assert t.min() == 0 and t.max() == 9


def test_the_draw_is_a_function_of_the_seed() -> None:
    levels = Uniform(low=0.0, high=1.0)
    torch.manual_seed(7)
    first = levels(3, 8, 1000)
    torch.manual_seed(7)
    assert torch.equal(first, levels(3, 8, 1000))


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_power_has_its_density(exponent: float) -> None:
    """P(t/T < a) = a^(1/exponent), so the density at a is a^(1/exponent - 1) / exponent."""
    torch.manual_seed(0)
    count, edges = 100_000, torch.linspace(0, 1, 11, dtype=torch.float64)
    t = Power(exponent=exponent)(0, count, 1000)
    assert t.dtype == torch.int64 and t.shape == (count,)
    found = torch.bincount(t // 100, minlength=10) / count
    expected = (edges ** (1 / exponent)).diff()
    assert ((found - expected).abs() < 4 * (expected * (1 - expected) / count).sqrt()).all()
    middles = (edges[1:] + edges[:-1]) / 2
    density = middles ** (1 / exponent - 1) / exponent
    # a bin's share is about its width times the density in its middle; the first bends most
    assert torch.allclose(found[1:].double(), 0.1 * density[1:], rtol=0.05)


def test_power_below_one_favours_high_noise_and_stays_in_the_table() -> None:
    torch.manual_seed(0)
    t = Power(exponent=0.01)(0, 10_000, 10)  # nearly all of u^0.01 is close to 1
    assert t.max() == 9 and (t == 9).float().mean() > 0.99
    assert Power(exponent=0.5)(0, 10_000, 10).float().mean() > Power(exponent=2)(0, 10_000, 10).float().mean()


def test_annealed_is_one_level_for_all_and_draws_nothing() -> None:
    levels = Annealed(level=linear(start=0.5, end=0.2, begin=0, until=5000))
    state = torch.get_rng_state()
    assert [levels(step, 2, 1000).tolist() for step in (0, 1000, 5000)] == [[500] * 2, [440] * 2, [200] * 2]
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("low, high", [(0.5, 0.2), (-0.1, 0.5), (0.2, 1.1)])
def test_impossible_levels_are_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError):
        Uniform(low=low, high=high)(0, 1, 1000)
