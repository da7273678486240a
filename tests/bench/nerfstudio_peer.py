"""nerfstudio, of which only the torch forms of fields and samplers are wanted: not the viewer they import."""

from __future__ import annotations

import sys
from types import ModuleType

from timing import peer

VIEWER = ("viser", "viser.transforms")


def nerfstudio(module: str) -> ModuleType | None:
    """One of its modules, or None where it is not installed."""
    kept = {name: sys.modules.pop(name) for name in VIEWER if name in sys.modules}
    empty = {name: ModuleType(name) for name in VIEWER}
    empty["viser"].transforms = empty["viser.transforms"]  # type: ignore[attr-defined]
    sys.modules.update(empty)
    try:
        return peer(f"nerfstudio.{module}")
    finally:  # who asks for the viewer next, gets it
        for name in VIEWER:
            del sys.modules[name]
        sys.modules.update(kept)
