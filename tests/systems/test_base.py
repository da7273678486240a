"""Weights and losses must name each other, parameters must be grouped, seeds must not repeat."""

from types import SimpleNamespace

import pytest
import torch
from grids import small_hashgrid
from torch import nn

from systems.base import Optimization, System, check_names, mixed, parameter_groups
from threestudio_like.schedule.anneal import milestones


class Quadratic(System):
    """Two losses of one number, whose minimum is known."""

    losses = ("near", "small")

    def __init__(self, weights, rate=0.1):
        optimization = Optimization(lambda groups: torch.optim.SGD(groups), {"x": rate})
        super().__init__(seed=0, weights=weights, optimization=optimization, draw_every=10)
        self.x = nn.Parameter(torch.zeros(()))

    def compute(self, batch):
        return {"near": (self.x - 1) ** 2, "small": self.x**2}


def test_a_weight_without_loss_is_named_with_the_nearest():
    with pytest.raises(ValueError, match="weights.naer: no such loss; did you mean 'near'"):
        check_names(["near", "small"], {"naer": 1.0, "small": 1.0})


def test_a_loss_without_weight_is_named():
    with pytest.raises(ValueError, match="weights.small: missing"):
        check_names(["near", "small"], {"near": 1.0})


def test_the_total_is_the_weighted_sum_and_its_minimum_is_where_it_should_be():
    system = Quadratic({"near": 3.0, "small": 1.0})
    assert system.due("near", 0)
    optimizer = system.configure_optimizers()
    for _ in range(200):
        losses = system.compute(None)
        total = sum(system.weights[name](0) * loss for name, loss in losses.items())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert system.x.item() == pytest.approx(0.75, abs=1e-5)  # 3 (x-1)^2 + x^2


def test_a_step_with_nothing_to_do_is_an_error_that_names_it(monkeypatch):
    system = Quadratic({"near": 1.0, "small": 1.0})
    monkeypatch.setattr(system, "compute", lambda batch: {})
    with pytest.raises(ValueError, match="weights: no loss is due at step 7"):
        system.training_step(SimpleNamespace(step=7), 0)


def test_hash_grids_are_what_they_are_at_the_step(monkeypatch):
    system = Quadratic({"near": 1.0, "small": 1.0})
    system.grid = small_hashgrid(opened=milestones(value=1, then=[[7, 3]]))
    monkeypatch.setattr(system, "log", lambda *args, **settings: None)
    for step, levels in ((0, 1), (6, 1), (7, 3), (6, 3)):  # what was open stays so
        system.training_step(SimpleNamespace(step=step), 0)
        assert system.grid.levels == levels


def test_the_longest_prefix_takes_the_parameter():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    groups = parameter_groups(net, {"0": 0.1, "0.bias": 0.2, "1": 0.3})
    assert [len(group["params"]) for group in groups] == [1, 1, 2]
    assert groups[1]["params"][0] is net[0].bias and groups[1]["lr"] == 0.2


def test_parameters_left_over_and_idle_prefixes_are_errors():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"nothing fits the parameter '1.weight'"):
        parameter_groups(net, {"0": 0.1})
    with pytest.raises(ValueError, match=r"learning_rates.2: no trainable parameter"):
        parameter_groups(net, {"0": 0.1, "1": 0.1, "2": 0.1})


def test_frozen_parameters_are_left_alone():
    net = nn.Linear(2, 2)
    net.bias.requires_grad_(False)
    assert [len(group["params"]) for group in parameter_groups(net, {"weight": 0.1})] == [1]


def test_seeds_differ_by_step_seed_and_rank_and_are_the_same_again():
    seeds = {mixed(seed, step, rank) for seed in range(5) for step in range(50) for rank in range(2)}
    assert len(seeds) == 500
    assert mixed(1, 2, 3) == mixed(1, 2, 3) != mixed(3, 2, 1)
    assert all(0 <= seed < 2**63 for seed in seeds)
