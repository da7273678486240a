"""The one seam to hardware: an op's own body is the reference, and a backend may stand in for it.

A backend is chosen by where the tensors are: numba on a CPU, Triton on CUDA. It takes float32 only, so
float64 (gradcheck) always runs the reference. Half precision is made float32 first; on CUDA tables of hash
grids stay as they are, for kernels that read them. Other projects' packages stand in only where asked for
by name, because they differ from the references in what their files say; ops that they do not have get
what `auto` gives them. Nothing is imported before an op first needs it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


class Backend(NamedTuple):
    """Where a backend runs, what it needs, how a user gets that, and whether it waits to be asked for."""

    device: str
    package: str
    install: str
    asked: bool = False


BACKENDS = {
    "numba": Backend("cpu", "numba", "pip install numba"),
    "triton": Backend("cuda", "triton", "it comes with torch's CUDA builds, or: pip install triton"),
    "nvdiffrast": Backend("cuda", "nvdiffrast", "pip install 'threestudio-like[cuda]'", asked=True),
    "tinycudann": Backend("cuda", "tinycudann", "pip install 'threestudio-like[cuda]'", asked=True),
    "nerfacc": Backend("cuda", "nerfacc", "pip install 'threestudio-like[cuda]'", asked=True),
    "gsplat": Backend("cuda", "gsplat", "pip install 'threestudio-like[cuda]'", asked=True),
}
HOME = "threestudio_like.ops.backends"
# op -> backend -> the file that has a function of the op's name and signature, in order of preference
IMPLEMENTATIONS: dict[str, dict[str, str]] = {
    "hashgrid": {"numba": "numba.hashgrid", "triton": "triton.hashgrid", "tinycudann": "tinycudann"},
    "rasterize": {"numba": "numba.rasterize", "triton": "triton.rasterize", "nvdiffrast": "nvdiffrast"},
    "interpolate": {"numba": "numba.interpolate", "triton": "triton.interpolate", "nvdiffrast": "nvdiffrast"},
    "screen_derivatives": {"numba": "numba.derivatives"},
    "attribute_derivatives": {"numba": "numba.derivatives"},
    "antialias": {"numba": "numba.antialias", "triton": "triton.antialias", "nvdiffrast": "nvdiffrast"},
    "weights_from_alpha": {"numba": "numba.volume", "triton": "triton.volume"},
    "weights_from_density": {"numba": "numba.volume", "triton": "triton.volume"},
    "composite": {"numba": "numba.volume", "triton": "triton.volume"},
    "packed_weights_from_alpha": {"numba": "numba.volume", "triton": "triton.volume", "nerfacc": "nerfacc"},
    "packed_weights_from_density": {"numba": "numba.volume", "triton": "triton.volume", "nerfacc": "nerfacc"},
    "packed_sum": {"numba": "numba.volume", "triton": "triton.volume", "nerfacc": "nerfacc"},
    "march_occupied": {"numba": "numba.occupancy", "triton": "triton.occupancy"},
    "marching_tets": {"numba": "numba.isosurface"},
    "sample": {"numba": "numba.texture"},
    "project": {"numba": "numba.splat_project", "triton": "triton.splat_project", "gsplat": "gsplat"},
    "blend": {"numba": "numba.splat_blend", "triton": "triton.splat_blend", "gsplat": "gsplat"},
}
HALVES = (torch.float16, torch.bfloat16)
_asked: str = "auto"


def installed(backend: str) -> bool:
    """Whether the backend's package can be imported."""
    return _exists(BACKENDS[backend].package)


@functools.cache
def _exists(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def use(backend: str) -> None:
    """Ask for `auto`, `torch` (the references), or a named backend for the ops that it has.

    One that is not installed, or whose device is not there, is a ValueError.
    """
    global _asked
    choices = ["auto", "torch", *BACKENDS]
    if backend not in choices:
        raise ValueError(f"ops.backend: no backend {backend!r}; choose one of {', '.join(choices)}")
    if backend in BACKENDS and not installed(backend):
        raise ValueError(f"ops.backend: {backend} is not installed; {BACKENDS[backend].install}")
    if backend in BACKENDS and BACKENDS[backend].device == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"ops.backend: {backend} is for CUDA, and torch finds no CUDA device")
    _asked = backend


def chosen(name: str, device: str) -> str:
    """The backend that op `name` gets for float32 tensors on `device`; `torch` is the reference."""
    able = [key for key in IMPLEMENTATIONS.get(name, {}) if BACKENDS[key].device == device]
    if _asked in (*able, "torch"):
        return _asked
    return next((key for key in able if not BACKENDS[key].asked and installed(key)), "torch")


def table(device: str) -> dict[str, str]:
    """Which op got which backend: what `auto` prints once."""
    return {name: chosen(name, device) for name in IMPLEMENTATIONS}


@functools.cache
def _load(name: str, backend: str) -> Callable:
    return getattr(importlib.import_module(f"{HOME}.{IMPLEMENTATIONS[name][backend]}"), name)


def op(reference: Callable[P, R]) -> Callable[P, R]:
    """Make `reference` an op: the first tensor among its arguments says which backend runs instead of it."""
    name = reference.__name__

    def widened(value: Any) -> Any:
        half = isinstance(value, Tensor) and value.dtype in HALVES
        return value.float() if half and not (name == "hashgrid" and value.is_cuda) else value

    @functools.wraps(reference)
    def dispatched(*given: P.args, **named: P.kwargs) -> R:
        args, kwargs = [widened(value) for value in given], {key: widened(named[key]) for key in named}
        first = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        backend = chosen(name, first.device.type) if first.dtype == torch.float32 else "torch"
        return (reference if backend == "torch" else _load(name, backend))(*args, **kwargs)

    dispatched.reference = reference  # type: ignore[attr-defined]
    return dispatched
