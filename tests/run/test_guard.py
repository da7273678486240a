"""A step that is not finite leaves no trace but a count; too many in a row end the run in one line."""

import logging
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from pytorch_lightning import Trainer
from torch import nn
from torch.utils.data import DataLoader
from trainers import quiet

from systems.base import Optimization, System
from tests.run.tiny import Count
from threestudio_like.run.errors import UserError
from threestudio_like.run.guard import Guard, finite


class Falling(System):
    """Falls, but for the steps of `broken`: there the `loss` is NaN, or the `gradient` infinite."""

    losses = ("near", "small")

    def __init__(self, broken: dict[int, str], optimizer: type = torch.optim.Adam) -> None:
        optimization = Optimization(lambda groups: optimizer(groups), {"x": 0.1})
        super().__init__(
            seed=0, weights={"near": 1.0, "small": 0.5}, optimization=optimization, draw_every=1000
        )
        self.x = nn.Parameter(torch.zeros(3))
        self.broken = broken
        self.seen: list[torch.Tensor] = []

    def compute(self, batch: SimpleNamespace) -> dict[str, torch.Tensor]:
        self.seen.append(self.x.detach().clone())
        near, small = (self.x - 1).square().sum(), self.x.square().sum()
        kind = self.broken.get(batch.step)
        if kind == "loss":
            small = small * torch.nan
        if kind == "gradient":  # of a loss that adds 0
            near = near + (self.x - self.x.detach()).sum().sqrt()
        return {"near": near, "small": small}

    def draw(self, batch: SimpleNamespace) -> None:
        """No pictures."""


def fit(tmp_path: Path, system: System, steps: int, patience: int = 3, **settings: object) -> Guard | None:
    guard = Guard(patience=patience) if patience else None
    trainer = quiet(tmp_path / "coarse", steps, callbacks=[guard] if guard else [], **settings)
    steps_of = DataLoader(Count(0), batch_size=None, collate_fn=lambda step: SimpleNamespace(step=step))
    trainer.fit(system, steps_of)
    assert trainer.global_step == steps
    return guard


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_the_step_is_as_if_it_had_not_been(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = Falling({3: kind, 4: kind, 7: kind}), Falling({})
    with caplog.at_level(logging.WARNING, "threestudio_like"):
        guard = fit(tmp_path, broken, 10)
    fit(tmp_path, whole, 7)
    assert guard is not None and guard.state_dict() == {"skipped": 3, "row": 0}
    assert torch.equal(broken.seen[3], broken.seen[4]) and torch.equal(broken.seen[4], broken.seen[5])
    assert torch.equal(broken.x, whole.x)  # Adam's averages and its count of steps as well
    name = "the loss 'small'" if kind == "loss" else "the gradient of 'x'"
    said = [each.getMessage() for each in caplog.records if each.name == Guard.__module__]
    assert said == [f"step {step}: {name} is not finite; skipped" for step in (3, 4, 7)]


def test_too_many_in_a_row_end_the_run(tmp_path: Path) -> None:
    system = Falling({2: "loss", 4: "loss", 5: "loss", 6: "loss"})
    line = "stages.coarse: step 6: the loss 'small' is not finite, 3 steps in a row; "
    with pytest.raises(UserError, match=line):
        fit(tmp_path, system, 10)
    assert torch.isfinite(system.x).all()


@pytest.mark.parametrize("settings", [{}, {"accumulate_grad_batches": 2}, {"precision": "bf16-mixed"}])
def test_a_healthy_run_does_not_change(tmp_path: Path, settings: dict[str, object]) -> None:
    guarded, free = Falling({}), Falling({})
    fit(tmp_path, guarded, 5, gradient_clip_val=0.5, **settings)
    fit(tmp_path, free, 5, gradient_clip_val=0.5, patience=0, **settings)
    assert torch.equal(guarded.x, free.x) and not torch.equal(free.x, torch.zeros(3))


def test_one_bad_part_of_an_accumulated_step_spoils_it(tmp_path: Path) -> None:
    system = Falling({2: "loss"})  # the first half of the second step: here each batch has its own number
    guard = fit(tmp_path, system, 4, accumulate_grad_batches=2)
    assert guard is not None and guard.skipped == 1
    assert torch.equal(system.seen[2], system.seen[4]) and not torch.equal(system.seen[4], system.seen[6])


def test_a_clipped_infinity_is_seen(tmp_path: Path) -> None:
    system = Falling({1: "gradient"})
    guard = fit(tmp_path, system, 3, gradient_clip_val=1.0, gradient_clip_algorithm="value")
    assert guard is not None and guard.skipped == 1


@pytest.mark.parametrize(
    ("scale", "loss", "skipped"), [(1024.0, 1.0, 0), (1.0, 1.0, 1), (1024.0, torch.nan, 1)]
)
def test_the_search_for_a_scale_is_no_mishap(scale: float, loss: float, skipped: int) -> None:
    guard, system, trainer = Guard(patience=5), Falling({}), Mock(spec=Trainer)
    trainer.precision_plugin.scaler.get_scale.return_value = scale
    trainer.strategy.reduce_boolean_decision = lambda value, all: value
    trainer.global_step, trainer.default_root_dir = 0, "coarse"
    system.x.grad = torch.full_like(system.x, torch.inf)
    guard.on_before_backward(trainer, system, torch.tensor(loss))
    guard.on_before_optimizer_step(trainer, system, system.configure_optimizers())
    assert guard.skipped == skipped
    assert (system.x.grad is None) == bool(skipped)  # else the scaler's business


def test_finite() -> None:
    large = torch.full((10,), 3e38)
    assert finite([]) and finite([None, large, torch.zeros(0)])  # their sum would be infinite
    for bad in (torch.nan, torch.inf, -torch.inf):
        assert not finite([large, torch.tensor([0.0, bad, 1.0])])


def test_patience_is_positive() -> None:
    with pytest.raises(ValueError, match="patience: expected at least 1, got 0"):
        Guard(patience=0)


def test_what_the_last_step_left_is_looked_at(tmp_path: Path) -> None:
    system = Falling({}, torch.optim.SGD)
    system.rates["x"] = 2e38
    with pytest.raises(UserError, match=r"stages.coarse: 'x' is not finite after the last step"):
        fit(tmp_path, system, 1)
