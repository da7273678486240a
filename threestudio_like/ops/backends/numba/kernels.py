"""How numba kernels are compiled (cached on disk, without the GIL) and shared out among threads.

As many as torch has, but Python's, not numba's parallel layers: those end a process that a data loader
forked, and while they wait they take the cores from torch's threads. A kernel's first two arguments say which
tasks it does: `range(first, number of tasks, step)`; its results must not depend on the step.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
import os
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch


@functools.cache
def sources(folder: Path = Path(__file__).parents[2]) -> str:
    """A short name for the text of all ops: constants and parts of other files are compiled into kernels."""
    text = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        text.update(file.read_bytes())
    return text.hexdigest()[:12]


def kernel(function: Callable) -> Callable:
    """Compile at the first call on a machine; the cache is beside the file or else in the user's folder.

    numba looks only at the kernel's own file to tell whether its cache is old; the name in it tells the rest.
    """
    plain = inspect.unwrap(function)  # type checkers wrap functions in what numba cannot compile
    plain.__qualname__ += f"_{sources()}"
    return numba.njit(cache=True, nogil=True, error_model="numpy")(plain)


def part(function: Callable) -> Callable:
    """Part of kernels, compiled into them for each constant argument; multiply-adds are fused, NaNs kept.

    A tuple's length is a constant: loops over it are unrolled.
    """
    return numba.njit(forceinline=True, fastmath={"contract"}, error_model="numpy")(inspect.unwrap(function))


def exact(function: Callable) -> Callable:
    """As `part`, but each operation is rounded: for what decides as the reference does.

    Inlined and not called, because passing a view of an array counts its references, by atomic additions.
    """
    return numba.njit(forceinline=True, error_model="numpy")(inspect.unwrap(function))


def empty(*shape: int) -> torch.Tensor:
    """Memory for a result, which numpy takes in large pages: many small ones cost more than filling them."""
    return torch.from_numpy(np.empty(shape, np.float32))


_spare: list[np.ndarray] = []  # at most one, the largest


def lent(*shape: int) -> np.ndarray:
    """Memory that comes back when the array is dropped, for what a backward pass reads once at each step.

    Taking new pages for it costs more than filling them.
    """
    size = math.prod(shape)
    try:
        memory = _spare.pop()
    except IndexError:
        memory = np.empty(0, np.float32)
    if len(memory) < size:
        memory = np.empty(size, np.float32)
    array = memory[:size].reshape(shape)
    weakref.finalize(array, _returned, memory).atexit = False
    return array


def _returned(memory: np.ndarray) -> None:
    _spare.append(memory)
    if len(_spare) > 1:
        _spare[:] = [max(_spare, key=len)]


def copied(tensor: torch.Tensor) -> torch.Tensor:
    """By one thread: torch would wake its team, which then spins on the cores that kernels need."""
    return torch.from_numpy(tensor.detach().numpy().copy())


def summed(slots: torch.Tensor, num_views: int) -> torch.Tensor:
    """Sums made apart, in float64, as the float32 gradient of the views; by one thread, as in `copied`."""
    total = slots.numpy()
    if num_views == 1:
        total = total.sum(0, keepdims=True)
    return torch.from_numpy(total.astype(np.float32))


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "kernel")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def run(function: Callable, num_tasks: int, *args: Any) -> None:
    """Do the kernel's tasks on torch.get_num_threads() threads, this one among them."""
    threads = max(1, min(torch.get_num_threads(), num_tasks))
    others = [_pool().submit(function, first, threads, *args) for first in range(1, threads)]
    function(0, threads, *args)
    for other in others:
        other.result()
