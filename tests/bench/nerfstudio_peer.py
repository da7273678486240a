"""nerfstudio, of which only the torch forms of fields and samplers are wanted: not the viewer they import."""

from __future__ import annotations

import sys
from types import ModuleType

from timing import peer


def nerfstudio(module: str) -> ModuleType | None:
    """One of its modules, or None where it is not installed."""
    for name in ("viser", "viser.transforms"):
        sys.modules.setdefault(name, ModuleType(name))
    sys.modules["viser"].transforms = sys.modules["viser.transforms"]  # type: ignore[attr-defined]
    return peer(f"nerfstudio.{module}")
