"""A loaded optimiser is compared with one that has moved: only what could not go on is refused."""

import pytest
import torch
from torch import nn
from torch.optim import LBFGS, SGD, Adafactor, Adam, AdamW, Optimizer, RMSprop

from threestudio_like.run.optimizers import wrong_in

KINDS = [
    lambda p: Adam(p, lr=0.1),
    lambda p: Adam(p, lr=1, betas=[0.9, 0.99], amsgrad=True),
    lambda p: AdamW(p),
    lambda p: SGD(p, lr=0.1),
    lambda p: SGD(p, lr=0.1, momentum=0.9),
    lambda p: RMSprop(p),
    lambda p: Adafactor(p),
    lambda p: LBFGS(p),
]


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.zeros(4)), nn.Parameter(torch.ones(1))]


def moved(make, steps: int = 3) -> Optimizer:
    """One that has made its steps; the last parameter has never had a gradient."""
    own = parameters()
    optimizer = make(own)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found = own[0].square().sum() + (own[1] - 1).square().sum()
        found.backward()
        return found

    for _ in range(steps):
        optimizer.step(loss)
    return optimizer


@pytest.mark.parametrize("make", KINDS)
def test_what_has_moved_may_go_on(make) -> None:
    assert wrong_in(moved(make), make(parameters()), 3) == ""
    assert wrong_in(moved(make, 0), make(parameters()), 0) == ""


def test_no_parameter_changes_by_comparing() -> None:
    own = parameters()
    before = [parameter.detach().clone() for parameter in own]
    wrong_in(moved(KINDS[0]), KINDS[0](own), 3)
    assert all(torch.equal(one, other) for one, other in zip(own, before, strict=True))
    assert all(parameter.grad is None for parameter in own)


def test_what_could_not_go_on_is_named() -> None:
    def said(change) -> str:
        optimizer = moved(KINDS[0])
        change(optimizer)
        return wrong_in(optimizer, KINDS[0](parameters()), 3)

    def state(name: str, value: object, number: int = 0):
        return lambda o: o.state[o.param_groups[0]["params"][number]].update({name: value})

    assert said(state("exp_avg", torch.zeros(3))) == "state.0.exp_avg is not of its kind or shape"
    assert said(state("exp_avg_sq", None, 1)) == "state.1.exp_avg_sq is not of its kind or shape"
    assert said(state("step", torch.tensor(4.0))) == "state.0.step is not in 0..3"
    assert said(lambda o: o.state.clear()) == "state is empty"
    assert said(lambda o: o.param_groups[0].update(betas=(0.9,))) == "param_groups.0.betas is not of its kind"
    assert said(lambda o: o.param_groups[0].update(eps="a")) == "param_groups.0.eps is not of its kind"
