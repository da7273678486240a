"""What must be set before a package is first imported.

Before torch: threads that sleep while they wait leave cores to other processes. Before Triton, which torch's
compiler imports: its kernels are interpreted, in numpy, where there is no GPU to compile them for. Before our
packages: others' large ones, as all that is imported while jaxtyping's hook loads ours is compiled anew.
"""

import importlib
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # for layouts.py, refusals.py and trainers.py, which several need
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest  # noqa: E402
import torch  # noqa: E402

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

for package in ("beartype", "diffusers.models.unets.unet_2d", "hydra.main", "pytorch_lightning", "trimesh"):
    importlib.import_module(package)


@pytest.fixture(autouse=True)
def composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra composes all once more, which takes a second, to learn hydra.mode; only a study sets it."""
    from hydra._internal.hydra import Hydra

    asked = Hydra.get_mode

    def mode(self, **words):
        return asked(self, **words) if any(word.startswith("study=") for word in sys.argv) else None

    monkeypatch.setattr(Hydra, "get_mode", mode)
