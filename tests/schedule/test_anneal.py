import math
import pickle

import pytest

from threestudio_like.schedule import anneal


def test_a_number_is_a_constant_and_a_schedule_stays_itself() -> None:
    assert anneal.as_schedule(3)(0) == anneal.as_schedule(3.0)(10**6) == 3.0
    schedule = anneal.linear(start=0.0, end=1.0, begin=0, until=2)
    assert anneal.as_schedule(schedule) is schedule


@pytest.mark.parametrize("make", [anneal.linear, anneal.cosine, anneal.exponential])
def test_ends_hold_outside_and_between_it_moves_one_way(make) -> None:
    schedule = make(start=0.85, end=0.5, begin=10, until=210)
    assert [schedule(step) for step in (0, 10, 210, 10**6)] == [0.85, 0.85, 0.5, 0.5]
    inside = [schedule(step) for step in range(10, 211)]
    assert all(later < earlier for earlier, later in zip(inside, inside[1:], strict=False))


def test_middles() -> None:
    ends = {"start": 1.0, "end": 100.0, "begin": 0, "until": 100}
    assert anneal.linear(**ends)(25) == pytest.approx(25.75)
    assert anneal.cosine(**ends)(50) == pytest.approx(50.5)
    assert anneal.cosine(**ends)(25) == pytest.approx(1 + 99 * (1 - math.sqrt(0.5)) / 2)
    assert anneal.exponential(**ends)(50) == pytest.approx(10.0)


def test_the_noise_levels_of_dreamcraft3d() -> None:
    low = anneal.linear(start=0.7, end=0.2, begin=0, until=200)
    assert [low(0), low(100), low(200), low(4000)] == pytest.approx([0.7, 0.45, 0.2, 0.2])


def test_milestones_are_steps() -> None:
    resolution = anneal.milestones(value=128, then=[[3000, 384], [4000, 512]])
    assert [resolution(step) for step in (0, 2999, 3000, 3999, 4000, 9999)] == [128, 128, 384, 384, 512, 512]
    assert anneal.milestones(value=3, then=[])(77) == 3
    for then, said in ([[5, 1], [5, 2]], "must rise"), ([[1, 2, 3]], "pairs"):
        with pytest.raises(ValueError, match=said):
            anneal.milestones(value=1, then=then)


def test_piecewise_is_lines_and_jumps() -> None:
    schedule = anneal.piecewise(points=[[10, 1.0], [20, 3.0], [20, 0.0], [30, 1.0]])
    values = [schedule(step) for step in (0, 10, 15, 19, 20, 25, 30, 99)]
    assert values == pytest.approx([1.0, 1.0, 2.0, 2.8, 0.0, 0.5, 1.0, 1.0])


def test_every_takes_turns() -> None:
    even = anneal.every(value=2.0, period=2, begin=0, until=1)
    assert [even(step) for step in range(4)] == [2.0, 0.0, 2.0, 0.0]
    inner = anneal.every(value=1.0, period=2, begin=1, until=2)
    nested = anneal.every(value=inner, period=10, begin=4, until=10)
    assert [step for step in range(20) if nested(step)] == [5, 7, 9, 15, 17, 19]


@pytest.mark.parametrize(
    "make",
    [
        lambda: anneal.constant(value=math.nan),
        lambda: anneal.linear(start=0.0, end=1.0, begin=5, until=5),
        lambda: anneal.cosine(start=math.inf, end=1.0, begin=0, until=5),
        lambda: anneal.exponential(start=0.0, end=1.0, begin=0, until=5),
        lambda: anneal.exponential(start=-1.0, end=1.0, begin=0, until=5),
        lambda: anneal.piecewise(points=[]),
        lambda: anneal.piecewise(points=[[0, 1.0, 2.0]]),
        lambda: anneal.piecewise(points=[[5, 1.0], [4, 2.0]]),
        lambda: anneal.every(value=1.0, period=2, begin=2, until=3),
        lambda: anneal.every(value=1.0, period=2, begin=1, until=1),
    ],
)
def test_nonsense_is_refused(make) -> None:
    with pytest.raises(ValueError):
        make()


def test_schedules_survive_a_pickle() -> None:
    schedule = anneal.every(
        value=anneal.linear(start=0.0, end=10.0, begin=0, until=10), period=2, begin=0, until=1
    )
    again = pickle.loads(pickle.dumps(schedule))
    assert [again(step) for step in range(10)] == [schedule(step) for step in range(10)]
