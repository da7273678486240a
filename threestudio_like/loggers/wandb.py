"""Weights & Biases: Lightning's logger, and what it has no methods for: meshes, results, an end.

Offline unless somebody is logged in; `wandb sync <save_dir>/wandb/offline-run-*` sends it later. A resumed
run is a second folder with the same id: send both.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from jaxtyping import Float, Int
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor


class Wandb(WandbLogger):
    """One of wandb's runs for each stage, grouped under the run's name; ids stay when a run goes on.

    mode: online, offline, or auto: online if a key for it is there.
    """

    def __init__(self, *, save_dir: str, project: str, mode: str) -> None:
        if mode not in ("auto", "online", "offline"):
            raise ValueError(f"mode: expected auto, online or offline, got {mode!r}")
        place = Path(save_dir).absolute()
        offline = mode == "offline" or mode == "auto" and not logged_in()
        super().__init__(
            name=f"{place.parent.name} {place.name}",
            save_dir=save_dir,
            offline=offline,
            version=hashlib.sha256(str(place).encode()).hexdigest()[:12],
            project=project,
            log_model=False,
            group=place.parent.name,
        )
        self.place = place

    @property
    def experiment(self) -> Any:
        """wandb makes its folder only where there is one to make it in."""
        self.place.mkdir(parents=True, exist_ok=True)
        return super().experiment

    @rank_zero_only
    def log_mesh(
        self,
        key: str,
        file: Path,
        step: int,
        *,
        vertices: Float[Tensor, "V 3"],
        faces: Int[Tensor, "F 3"],
        colors: Float[Tensor, "V 3"],
    ) -> None:
        """The file itself, with its texture."""
        import wandb

        self.log_metrics({key: wandb.Object3D(str(file))}, step)  # type: ignore[dict-item]

    @rank_zero_only
    def log_result(self, parameters: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """What a run was given and what came out."""
        self.log_hyperparams(dict(parameters))
        self.log_metrics({f"result/{name}": value for name, value in scores.items()}, 0)

    @rank_zero_only
    def close(self) -> None:
        """The end of wandb's run: the next logger of this process begins another."""
        if self._experiment is not None:
            self._experiment.finish()
            self._experiment = None


def logged_in() -> bool:
    """Whether there is a key where `wandb login` puts it, so that nobody would be asked for one."""
    if os.environ.get("WANDB_MODE") in ("offline", "dryrun", "disabled"):
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return server in netrc(os.environ.get("NETRC")).hosts
    except (OSError, NetrcParseError):
        return False
