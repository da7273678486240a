"""Batches without end, from the step on at which a run stands.

A step is one of the optimiser's. It is divided into shares: one for each process, and where a process adds
up gradients (`accumulate_grad_batches`), one for each part; together they are the step's batch. Cameras,
examples and noise of a share depend on seed, step and its number alone: two processes, and two parts in one
process, see the same. A `trainer` here is Lightning's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset


class Stream(IterableDataset):
    """`batch(step, share)` of this process, part after part and step after step."""

    def __init__(self, batch: Callable[[int, int], Any], trainer: Any) -> None:
        self.batch = batch
        self.first, self.parts = trainer.global_step, trainer.accumulate_grad_batches
        self.mine = [share(trainer, part) for part in range(self.parts)]

    def __iter__(self) -> Iterator[Any]:
        for step in itertools.count(self.first):
            for number in self.mine:
                yield self.batch(step, number)


def endless(batch: Callable[[int, int], Any], trainer: Any) -> DataLoader:
    """The stream as Lightning takes it."""
    assert trainer is not None
    return DataLoader(Stream(batch, trainer), batch_size=None)


def share(trainer: Any, batch_idx: int) -> int:
    """The number, from 0, of the share of its step that this batch of this process is."""
    return batch_idx % trainer.accumulate_grad_batches * trainer.world_size + trainer.global_rank


def num_shares(trainer: Any) -> int:
    """How many a step has."""
    return trainer.accumulate_grad_batches * trainer.world_size


def ends_step(trainer: Any, batch_idx: int) -> bool:
    """Whether the optimiser has moved after this batch."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0
