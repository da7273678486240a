"""A parameter grows or shrinks while it is trained: another takes its place in the optimiser."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.optim import Optimizer


def exchange(
    optimizer: Optimizer, old: nn.Parameter, new: nn.Parameter, moved: Callable[[Tensor], Tensor]
) -> None:
    """`new` in the place of `old`, in the same group; `moved` makes its moments from those of `old`.

    A new tensor is needed: graphs of earlier steps would not take gradients of another size.
    """
    for group in optimizer.param_groups:
        group["params"] = [new if parameter is old else parameter for parameter in group["params"]]
    if old in optimizer.state:
        optimizer.state[new] = {
            key: moved(value) if isinstance(value, Tensor) and value.shape == old.shape else value
            for key, value in optimizer.state.pop(old).items()
        }
