"""Steps are divided into shares, which depend on nothing but their number."""

import itertools
from types import SimpleNamespace

import pytest

from threestudio_like.data.stream import endless, ends_step, num_shares, share


def trainer(rank: int = 0, world: int = 1, parts: int = 1, step: int = 0) -> SimpleNamespace:
    return SimpleNamespace(
        global_rank=rank, world_size=world, accumulate_grad_batches=parts, global_step=step
    )


def seen(count: int, **layout: int) -> list[tuple[int, int]]:
    stream = endless(lambda step, number: (step, number), trainer(**layout))
    return [(step, number) for step, number in itertools.islice(stream, count)]


def test_a_run_goes_on_at_its_step() -> None:
    assert seen(3, step=5) == [(5, 0), (6, 0), (7, 0)]


@pytest.mark.parametrize(("world", "parts"), [(1, 1), (2, 1), (1, 2), (3, 2), (2, 4)])
def test_every_share_of_a_step_is_seen_once(world: int, parts: int) -> None:
    steps, count = 3, world * parts
    found = [seen(steps * parts, rank=rank, world=world, parts=parts) for rank in range(world)]
    assert all([step for step, _ in one] == sorted(list(range(steps)) * parts) for one in found)
    expected = list(itertools.product(range(steps), range(count)))
    assert sorted(itertools.chain(*found)) == expected
    assert num_shares(trainer(world=world, parts=parts)) == count


def test_the_number_is_that_of_the_batch() -> None:
    layout = trainer(rank=1, world=3, parts=2)
    assert [share(layout, index) for index in range(4)] == [1, 4, 1, 4]
    assert [ends_step(layout, index) for index in range(4)] == [False, True, False, True]
    assert [number for _, number in seen(4, rank=1, world=3, parts=2)] == [1, 4, 1, 4]
