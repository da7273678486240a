"""Seconds of a step: from few of many, everywhere in the schedule, and of no more than these."""

import time

import pytest
import torch
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from torch.utils.data import DataLoader, IterableDataset

from threestudio_like.run.probe import STEPS, STRETCHES, cost, places

TRAINER = {
    "_target_": "pytorch_lightning.Trainer",
    "accelerator": "cpu",
    "devices": 2,
    "strategy": "ddp",
    "enable_model_summary": False,
    "callbacks": {"broken": {"_target_": "builtins.open"}},  # neither these nor loggers are made
}


class Clock(LightningModule):
    """Slow in the second half of its steps."""

    draw_every = 100

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[int] = []
        self.drawn = 0

    def training_step(self, batch: int, batch_idx: int) -> torch.Tensor:
        assert batch == self.trainer.global_step
        self.seen.append(batch)
        time.sleep(0.05 if batch >= 500 else 0.0)
        return self.weight

    def on_train_batch_end(self, outputs: object, batch: int, batch_idx: int) -> None:
        self.draw(batch)

    def draw(self, batch: int) -> None:
        self.drawn += 1
        time.sleep(0.01)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Count(IterableDataset):
    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self):
        return iter(range(self.first, 10**6))


class Data(LightningDataModule):
    def train_dataloader(self) -> DataLoader:
        assert isinstance(self.trainer, Trainer)
        return DataLoader(Count(self.trainer.global_step), batch_size=None)


@pytest.mark.parametrize("steps", [1, 32, 33, 400, 10000])
def test_places_are_few_apart_and_inside(steps: int) -> None:
    begins = places(steps)
    assert begins[0] == 0 and all(b - a >= STEPS for a, b in zip(begins, begins[1:], strict=False))
    assert begins[-1] + STEPS <= steps or begins == [0]
    assert len(begins) == (1 if steps <= 2 * STRETCHES * STEPS else STRETCHES)


def test_slow_steps_count_by_their_share(tmp_path) -> None:
    system = Clock()
    found = cost({**TRAINER, "max_steps": 1000}, "trainer", system, Data(), tmp_path)
    assert system.seen == [step for begin in places(1000) for step in range(begin, begin + STEPS)]
    assert found.timed == STRETCHES * (STEPS - 1) and found.steps == 1000 and system.drawn == 1
    assert found.seconds > 0.4 * 0.05 and found.drawing >= 0.01
    assert found.total == pytest.approx(1000 * found.seconds + 11 * found.drawing)


def test_a_short_stage_is_run_whole(tmp_path) -> None:
    system = Clock()
    found = cost({**TRAINER, "max_steps": 3}, "trainer", system, Data(), tmp_path)
    assert system.seen == [0, 1, 2] and found.timed == 2
    assert not list(tmp_path.iterdir())
