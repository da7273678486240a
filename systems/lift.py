"""Base of the systems that make a Scene from a picture and words, by rendering it and asking priors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from systems.base import Optimization, System, Weight, kept_share
from threestudio_like.geometry.base import Geometry
from threestudio_like.geometry.convert import begin
from threestudio_like.loggers.images import column, row
from threestudio_like.losses.reference import reference_losses
from threestudio_like.ops.camera import around, split
from threestudio_like.ops.depth import painted
from threestudio_like.ranges import Count, Seed
from threestudio_like.records import Batch, Camera, Render, View
from threestudio_like.scene import Scene

log = logging.getLogger(__name__)


class Lift(System):
    """Holds the scene, the renderer that shows it and the guidance that judges it.

    Which losses are due at a step is said by their weights: a weight of zero is not computed, so
    `anneal.every` alternates reference and guidance steps.
    """

    reference = ("rgb", "mask", "depth", "normal")

    def __init__(
        self,
        *,
        scene: Scene,
        renderer: nn.Module,
        guidance: Mapping[str, nn.Module],
        prompt: str,
        seed: Seed,
        weights: Mapping[str, Weight],
        optimization: Optimization,
        draw_every: Count,
    ) -> None:
        super().__init__(seed=seed, weights=weights, optimization=optimization, draw_every=draw_every)
        self.scene = scene
        self.renderer = renderer
        self.guidance = nn.ModuleDict(dict(guidance))
        self.prompt = prompt
        self.kept: float | None = None
        self.missed: set[str] = set()  # losses that the log has named already

    def begin_from(self, scene: Scene) -> None:
        """Take over what the stage before has made, and measure how much of its volume that kept."""
        target, source = self.scene.geometry, scene.geometry
        assert isinstance(target, Geometry) and isinstance(source, Geometry)
        begin(target, source)
        self.kept = kept_share(source, target)

    def measure(self, data: Any) -> dict[str, float]:
        """What is known when it is done."""
        return {} if self.kept is None else {"handover_iou": self.kept}

    def show(self, camera: Camera, step: int) -> Render:
        """The scene as these cameras see it."""
        return self.renderer(self.scene, camera, step)

    def any_due(self, names: tuple[str, ...], step: int) -> bool:
        """Whether one of these losses counts at this step."""
        return any(self.due(name, step) for name in names)

    def compared(self, render: Render, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """The losses of a render against the user's picture; those that need a cue it lacks are left out."""
        losses = reference_losses(render, batch.reference)
        self.miss([name for name in self.reference if name not in losses and self.due(name, batch.step)])
        return {name: loss for name, loss in losses.items() if self.due(name, batch.step)}

    def miss(self, names: list[str]) -> None:
        """Say once which losses have nothing to compare with, though they have a weight."""
        for name in (name for name in names if name not in self.missed):
            self.missed.add(name)
            tell = "+priors@stages.NAME.data.cues=cues tells it"
            log.warning("weights.%s does nothing: the picture comes without %s; %s", name, name, tell)

    def judged(self, name: str, image: Float[Tensor, "B H W 4"], batch: Batch) -> Float[Tensor, ""]:
        """What one guidance says of a render from the random cameras."""
        if name not in self.guidance:
            raise ValueError(f"a loss has a weight, but there is no guidance.{name} to tell it; set it to 0")
        prompts = [self.prompt] * len(image)
        return self.guidance[name](image, prompts, batch.camera, batch.reference, batch.step)

    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "H W 3"]]:
        """Colour and normals from the reference camera and from three others around the object."""
        ring = around(batch.reference.camera, 4, 0.0)
        shown = [self.show(camera, batch.step) for camera in split(ring, 1)]
        colour = row([render.rgb[0] for render in shown])
        normal = row([render.normal_rgba[0, ..., :3] for render in shown])
        picture = batch.reference.rgba[0, ..., :3]
        first = batch.reference if batch.step == 0 else None  # what is told of it stays the same
        told = {} if first is None or first.depth is None else {"cues": row(cues(first))}
        return told | {"views": column([row([picture, colour]), row([torch.ones_like(picture), normal])])}


def cues(view: View) -> list[Float[Tensor, "H W 3"]]:
    """A view of one picture, and the depth and, if any, the normals (world frame) that it comes with."""
    assert view.depth is not None
    shown = [view.rgba[..., :3], painted(view.depth, view.alpha)]
    if view.normal is not None:
        shown.append((view.normal + 1) / 2 * view.alpha + 1 - view.alpha)
    return [part[0] for part in shown]
