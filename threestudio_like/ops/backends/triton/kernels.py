"""How Triton kernels are made and launched.

With TRITON_INTERPRET=1 set before Triton is first imported they run on the CPU, in numpy: so they are tested.
Programs may run in any order, and atomics add in any order: sums that they make differ by rounding from run
to run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import triton
from torch import Tensor


def kernel(function: Callable) -> Any:
    """Compiled at the first call with arguments of each kind, and kept by Triton in the user's folder."""
    # unwrapped, because type checkers wrap functions in what Triton cannot compile
    return triton.jit(inspect.unwrap(function))


def blocks(count: int, size: int) -> int:
    """How many blocks of `size` hold `count`."""
    return -(-count // size)


def power_of_two(count: int) -> int:
    """The next one: lanes come in powers of two."""
    return 1 << max(count - 1, 0).bit_length()


def launch(
    function: Any, grid: tuple[int, ...], first: Tensor, *args: Any, fuse: bool = True, **constants: Any
) -> None:
    """Run the kernel on the device of its first argument, one program for each place of the grid.

    fuse: multiply and add with one rounding; not where the reference's exact roundings decide.
    """
    if 0 not in grid:
        with torch.cuda.device_of(first):
            function[grid](first, *args, enable_fp_fusion=fuse, **constants)
