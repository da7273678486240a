"""The one seam to hardware: an op's own body is the reference, and a backend may stand in for it.

A backend is chosen by where the tensors are: numba on a CPU, Triton on CUDA. It takes float32 only, so
float64 (gradcheck) always runs the reference. Nothing is imported before an op first needs it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


class Backend(NamedTuple):
    """Where a backend runs, what it needs, and how a user gets that."""

    device: str
    package: str
    install: str


BACKENDS = {
    "numba": Backend("cpu", "numba", "pip install numba"),
    "triton": Backend("cuda", "triton", "it comes with torch's CUDA builds, or: pip install triton"),
}
NUMBA = "threestudio_like.ops.backends.numba"
TRITON = "threestudio_like.ops.backends.triton"
# op -> backend -> "module:function" with the reference's signature, in order of preference
IMPLEMENTATIONS: dict[str, dict[str, str]] = {
    "hashgrid": {"numba": f"{NUMBA}.hashgrid:hashgrid", "triton": f"{TRITON}.hashgrid:hashgrid"},
    "rasterize": {"numba": f"{NUMBA}.rasterize:rasterize", "triton": f"{TRITON}.rasterize:rasterize"},
    "interpolate": {
        "numba": f"{NUMBA}.interpolate:interpolate",
        "triton": f"{TRITON}.interpolate:interpolate",
    },
    "screen_derivatives": {"numba": f"{NUMBA}.derivatives:screen_derivatives"},
    "attribute_derivatives": {"numba": f"{NUMBA}.derivatives:attribute_derivatives"},
    "antialias": {"numba": f"{NUMBA}.antialias:antialias", "triton": f"{TRITON}.antialias:antialias"},
    "weights_from_alpha": {
        "numba": f"{NUMBA}.volume:weights_from_alpha",
        "triton": f"{TRITON}.volume:weights_from_alpha",
    },
    "weights_from_density": {
        "numba": f"{NUMBA}.volume:weights_from_density",
        "triton": f"{TRITON}.volume:weights_from_density",
    },
    "composite": {"numba": f"{NUMBA}.volume:composite", "triton": f"{TRITON}.volume:composite"},
    "packed_weights_from_alpha": {
        "numba": f"{NUMBA}.volume:packed_weights_from_alpha",
        "triton": f"{TRITON}.volume:packed_weights_from_alpha",
    },
    "packed_weights_from_density": {
        "numba": f"{NUMBA}.volume:packed_weights_from_density",
        "triton": f"{TRITON}.volume:packed_weights_from_density",
    },
    "packed_sum": {"numba": f"{NUMBA}.volume:packed_sum", "triton": f"{TRITON}.volume:packed_sum"},
    "march_occupied": {
        "numba": f"{NUMBA}.occupancy:march_occupied",
        "triton": f"{TRITON}.occupancy:march_occupied",
    },
    "marching_tets": {"numba": f"{NUMBA}.isosurface:marching_tets"},
    "sample": {"numba": f"{NUMBA}.texture:sample"},
    "project": {
        "numba": f"{NUMBA}.splat_project:project",
        "triton": f"{TRITON}.splat_project:project",
    },
    "blend": {"numba": f"{NUMBA}.splat_blend:blend", "triton": f"{TRITON}.splat_blend:blend"},
}
_asked: str = "auto"


def installed(backend: str) -> bool:
    """Whether the backend's package can be imported."""
    return importlib.util.find_spec(BACKENDS[backend].package) is not None


def use(backend: str) -> None:
    """Ask for `auto`, `torch` (the references) or a named backend; a missing one is an error, no fallback."""
    global _asked
    choices = ["auto", "torch", *BACKENDS]
    if backend not in choices:
        raise ValueError(f"ops.backend: no backend {backend!r}; choose one of {', '.join(choices)}")
    if backend in BACKENDS and not installed(backend):
        raise ValueError(f"ops.backend: {backend} is not installed; {BACKENDS[backend].install}")
    _asked = backend


def chosen(name: str, device: str) -> str:
    """The backend that op `name` gets for float32 tensors on `device`; `torch` is the reference."""
    for backend in IMPLEMENTATIONS.get(name, {}):
        wanted = _asked in ("auto", backend)
        if wanted and BACKENDS[backend].device == device and installed(backend):
            return backend
    return "torch"


def table(device: str) -> dict[str, str]:
    """Which op got which backend: what `auto` prints once."""
    return {name: chosen(name, device) for name in IMPLEMENTATIONS}


@functools.cache
def _load(name: str, backend: str) -> Callable:
    module, function = IMPLEMENTATIONS[name][backend].split(":")
    return getattr(importlib.import_module(module), function)


def op(reference: Callable[P, R]) -> Callable[P, R]:
    """Make `reference` an op: the first tensor among its arguments says which backend runs instead of it."""
    name = reference.__name__

    @functools.wraps(reference)
    def dispatched(*args: P.args, **kwargs: P.kwargs) -> R:
        first = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        backend = chosen(name, first.device.type) if first.dtype == torch.float32 else "torch"
        return (reference if backend == "torch" else _load(name, backend))(*args, **kwargs)

    dispatched.reference = reference  # type: ignore[attr-defined]
    return dispatched
