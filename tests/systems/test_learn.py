"""What all trained networks share: the average of the weights, the pace, the scores, the card."""

import json
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import Trainer
from torch import nn
from torch.utils.data import DataLoader

from systems.base import Optimization
from systems.learn import Learn, Pace
from threestudio_like.run.checkpoints import Checkpoints
from threestudio_like.schedule.anneal import constant, linear

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Fit(Learn):
    """One number that is to be 1."""

    losses = ("square",)

    def compute(self, batch):
        return {"square": (self.prior.weight - 1).square().sum()}

    def score(self, batch):
        return {"weight": float(self.averaged.weight), "draw": float(torch.rand(()))}

    def pictures(self, batch):
        return {}


@pytest.fixture
def make():
    def made():
        prior = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(prior.weight)
        return Fit(
            prior=prior,
            pace=Pace(0.5, linear(start=0.0, end=1.0, begin=0, until=4)),
            card={"data": "one"},
            seed=0,
            weights={"square": constant(value=1.0)},
            optimization=Optimization(partial(torch.optim.SGD), {"prior": 0.5}),
            draw_every=10,
        )

    return made


@pytest.fixture
def system(make, tmp_path):
    made = make()
    made._trainer = SimpleNamespace(
        global_step=7,
        accumulate_grad_batches=1,
        is_global_zero=True,
        default_root_dir=tmp_path,
        loggers=[],
        barebones=True,
    )
    return made


def test_the_average_forgets_its_start_and_then_keeps_its_share(system):
    with torch.no_grad():
        system.prior.weight.fill_(1.0)
    expected = 0.0
    for step in (1, 2, 3, 50):
        system.after_step(None, step)
        keep = min(0.5, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep)
        assert float(system.averaged.weight) == pytest.approx(expected)
    assert not any(p.requires_grad for p in system.averaged.parameters())


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`")
def test_a_checkpoint_has_the_average_of_its_last_step(system, tmp_path):
    trainer = Trainer(max_steps=6, default_root_dir=tmp_path, callbacks=[Checkpoints(every=4)], **QUIET)
    trainer.fit(system, DataLoader([SimpleNamespace(step=step) for step in range(6)], batch_size=None))
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 6
    assert torch.equal(saved["state_dict"]["averaged.weight"], system.averaged.weight)


def test_the_pace_is_a_function_of_the_step(system, monkeypatch):
    optimizer = system.configure_optimizers()
    monkeypatch.setattr(system, "optimizers", lambda use_pl_optimizer: optimizer)
    for step, rate in ((1, 0.125), (4, 0.5), (2, 0.25)):
        system.on_train_batch_start(SimpleNamespace(step=step), step)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(rate)


def test_scores_are_means_with_noise_that_is_the_same_each_time(system, tmp_path, monkeypatch):
    monkeypatch.setattr(system, "log_dict", lambda scores, sync_dist: None)
    before, cards = torch.random.get_rng_state(), []
    for value in (0.25, 0.75):
        for index in range(2):
            with torch.no_grad():
                system.averaged.weight.fill_(value + index)
            system.validation_step(None, index)
        system.on_validation_epoch_end()
        cards.append(json.loads((tmp_path / "weights.json").read_text()))
    assert torch.equal(before, torch.random.get_rng_state())
    assert [card["metrics"]["weight"] for card in cards] == [0.75, 1.25]
    assert cards[0]["metrics"]["draw"] == cards[1]["metrics"]["draw"]
    assert cards[0]["steps"] == 7 and cards[0]["data"] == "one"


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize(("last", "validated"), [(6, 6), (7, 6)])
def test_killed_after_its_last_checkpoint_it_ends_with_the_same_card(make, tmp_path, last, validated):
    """Nothing is left to fit then, and a validation that was due may be missing."""
    batches = [SimpleNamespace(step=step) for step in range(last)]

    def fit(begin=None):
        trainer = Trainer(
            max_steps=last,
            default_root_dir=tmp_path,
            val_check_interval=3,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            callbacks=[Checkpoints(every=last)],
            **QUIET,
        )
        loaders = [DataLoader(some, batch_size=None) for some in (batches, batches[:1])]
        trainer.fit(make(), *loaders, ckpt_path=begin, weights_only=True)
        return trainer

    fit()
    exported = [tmp_path / "weights.json", tmp_path / "weights.safetensors"]
    whole = [file.read_bytes() for file in exported]
    card = json.loads(whole[0])
    assert card["steps"] == last and card["metrics"]["steps"] == validated
    for file in exported:
        file.unlink()
    trainer = fit(tmp_path / "checkpoints" / "last.ckpt")
    assert [file.read_bytes() for file in exported] == whole
    if validated == last:
        assert "validation/weight" in trainer.callback_metrics
