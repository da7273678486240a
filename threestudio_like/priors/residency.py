"""Where a big frozen denoiser lives and how it runs: weights on the CPU between questions, or compiled.

With `offload` the weights never leave the CPU: copies go to the device for the time of one question, and stay
there until the backward pass where one follows. So of several priors one at a time is on the device. With
`compile` torch makes one program of the network; who adapts it by hooks (LoRA) gets the network as it is,
since a compiled program does not see hooks that come later.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

Backend = Literal["inductor", "aot_eager", "eager"]
COMPILERS = ("c++", "g++", "clang++", "cl")


class Residency:
    """A frozen denoiser to the same one, with other places for its weights.

    compile: ask torch.compile's program; its first answer takes minutes, at each new batch size again.
    backend: torch.compile's; `inductor` needs a C++ compiler, and Triton for CUDA; the others are for tests.
    offload: weights on the CPU between questions; each costs their way over the bus.
    """

    def __init__(self, *, compile: bool, backend: Backend, offload: bool) -> None:
        if compile and offload:
            raise ValueError("offload: not with compile, whose program holds its weights; choose one of them")
        if compile and backend == "inductor" and not has_compiler():
            there = "set compile=false"
            raise ValueError(f"compile: backend `inductor` needs a C++ compiler, and none is found; {there}")
        self.compile, self.backend, self.offload = compile, backend, offload


class Housed(nn.Module):
    """Base: a network and what others ask of it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def config(self) -> Any:
        """Its sizes."""
        return self.network.config

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return next(self.network.parameters()).dtype


class Offloaded(Housed):
    """Weights stay where they were made, on the CPU; they go along to the inputs' device for each answer."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the network's own."""
        device = next(value.device for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        own = {**dict(self.network.named_parameters()), **dict(self.network.named_buffers())}
        there = {name: value.to(device, non_blocking=True) for name, value in own.items()}
        return functional_call(self.network, there, args, kwargs)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Offloaded:
        """Other precisions, but no other device."""
        super()._apply(lambda value: value.to(fn(value.new_empty(0)).dtype), recurse)
        return self


class Compiled(Housed):
    """torch.compile's program of a network, for as long as nobody has hooks in it."""

    def __init__(self, network: nn.Module, backend: Backend) -> None:
        super().__init__(network)
        self._program = torch.compile(network.forward, backend=backend)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the network's own, but for rounding."""
        modules = self.network.modules()
        hooked = any(module._forward_hooks or module._forward_pre_hooks for module in modules)
        return (self.network if hooked else self._program)(*args, **kwargs)


def housed(network: nn.Module, residency: Residency | None) -> Any:
    """The network, if nothing is asked; or one that answers alike, with its `config` and `dtype`."""
    if residency is not None and residency.offload:
        return Offloaded(network)
    if residency is not None and residency.compile:
        return Compiled(network, residency.backend)
    return network


def bare(network: nn.Module) -> nn.Module:
    """What is housed; to copy, train and save."""
    return network.network if isinstance(network, Housed) else network


def has_compiler() -> bool:
    """Whether there is one for C++."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), *COMPILERS) if name)
