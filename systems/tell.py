"""What the estimator of depth and normals tells of one picture (priors/cues.py), with nothing optimised.

Where the picture is rendered from a mesh the truth stands below, and how far off it is.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from systems.lift import cues
from systems.observe import Observe
from threestudio_like.data.draw import draw
from threestudio_like.loggers.images import column, row
from threestudio_like.metrics.cues import depth_error, median_angle
from threestudio_like.records import Batch, View

log = logging.getLogger(__name__)


class Tell(Observe):
    """One step. Leaves a sheet (the cut-out picture, its depth, its normals; near is light) and cues.json.

    enlarged: pixels that show one.
    """

    def __init__(self, *, enlarged: int) -> None:
        super().__init__()
        self.enlarged = enlarged
        self.found: dict[str, float] = {}

    @torch.no_grad()
    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Show, and measure."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        told = batch.reference
        if told.depth is None:
            raise ValueError("data.cues: there are none to show; needs priors@stages.cues.data.cues=cues")
        lines = [row(cues(told))]
        if data.truth is not None:
            drawn = draw(data.truth, told.camera, data.light)
            true = told._replace(depth=drawn.depth, normal=None if told.normal is None else drawn.normal)
            lines.append(row(cues(true)))
            self.found = errors(told, true)
            log.info("%s", ", ".join(f"{name} {value:.3g}" for name, value in self.found.items()))
            self.log_dict(self.found)
        self.show("cues", column(lines), batch.step, self.enlarged)
        self.report("cues.json", self.found)
        self.tick()

    def measure(self, data: Any) -> dict[str, float]:
        """What was measured, for the run's metrics.json."""
        return self.found


def errors(told: View, true: View) -> dict[str, float]:
    """Of depth and, if told, normals, beside those of a flat picture that faces the camera."""
    assert told.depth is not None and true.depth is not None
    values: dict[str, Float[Tensor, " B"]] = {
        "depth_rmse": depth_error(told.depth, true.depth, true.alpha),
        "depth_rmse/flat": depth_error(torch.zeros_like(true.depth), true.depth, true.alpha),
    }
    if told.normal is not None and true.normal is not None:
        facing = true.camera.c2w[:, :3, 2][:, None, None].expand_as(true.normal)
        values["normal_median_deg"] = median_angle(told.normal, true.normal, true.alpha)
        values["normal_median_deg/flat"] = median_angle(facing, true.normal, true.alpha)
    return {name: float(value.nanmean()) for name, value in values.items()}
