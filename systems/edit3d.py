"""Editing a scene by instruction: Instruct-NeRF2NeRF (Haque et al. 2023), by iterative dataset update.

The scene goes on being fitted to the pictures that it was made from, while these are replaced, a few at a
time, by edits of themselves that begin from what the scene shows: so the edits come to agree with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from systems.base import Optimization, System, Weight
from systems.denoise import chosen
from threestudio_like.geometry.base import Geometry
from threestudio_like.geometry.convert import begin
from threestudio_like.loggers.images import column, row
from threestudio_like.losses import image
from threestudio_like.metrics.image import psnr, ssim
from threestudio_like.ops.camera import split
from threestudio_like.ranges import Count, Instruction, Seed
from threestudio_like.records import Posed, Render, View
from threestudio_like.scene import Scene
from threestudio_like.schedule.anneal import Schedule

SHOWN = 4  # pictures of the dataset


class Update(NamedTuple):
    """every: steps between updates; pictures: edited at each update; fitted: pictures that a step fits to."""

    every: Count
    pictures: Count
    fitted: Count


class Edit3D(System):
    """Holds the scene, the renderer, and the dataset as it is by now.

    Pictures come whole from the data module, once; a step's batch only says which step it is.

    editor: makes pictures of the scene into edits of the originals (guidance/edit.py).
    pace: factor on the learning rates, at each step.
    """

    losses = ("rgb", "squared", "structure", "mask")
    dataset: Float[Tensor, "N H W 4"]

    def __init__(
        self,
        *,
        scene: Scene,
        renderer: nn.Module,
        editor: nn.Module,
        instruction: Instruction,
        update: Update,
        pace: Schedule,
        seed: Seed,
        weights: Mapping[str, Weight],
        optimization: Optimization,
        draw_every: Count,
    ) -> None:
        super().__init__(seed=seed, weights=weights, optimization=optimization, draw_every=draw_every)
        self.scene, self.renderer, self.editor = scene, renderer, editor
        self.instruction, self.update, self.pace = instruction, update, pace
        self.original: View | None = None

    def begin_from(self, scene: Scene) -> None:
        """Take over what the stage before has made."""
        target, source = self.scene.geometry, scene.geometry
        assert isinstance(target, Geometry) and isinstance(source, Geometry)
        begin(target, source)

    def setup(self, stage: str) -> None:
        """The dataset as it is at first; a checkpoint that is read after this brings it up to date."""
        self.take(self.trainer.datamodule.pictures)  # type: ignore[attr-defined]

    def take(self, original: View) -> None:
        """The pictures to be edited."""
        self.original = original
        self.register_buffer("dataset", original.rgba.clone())

    def on_train_batch_start(self, batch: Posed, batch_idx: int) -> None:
        """Learning rates are functions of the step."""
        self.keep_pace(self.pace(batch.step))

    def compute(self, batch: Posed) -> dict[str, Float[Tensor, ""]]:
        """Some pictures are edited now and then; others are fitted to."""
        if batch.step % self.update.every == 0:
            self.edit(torch.randperm(len(self.dataset))[: self.update.pictures], batch.step)
        index = torch.randperm(len(self.dataset))[: self.update.fitted]
        assert self.original is not None
        render = self.renderer(self.scene, chosen(self.original, index).camera, batch.step)
        terms = self.terms(render, self.dataset[index])
        return {name: term() for name, term in terms.items() if self.due(name, batch.step)}

    @torch.no_grad()
    def edit(self, index: Int[Tensor, " n"], step: int) -> None:
        """Replace these pictures of the dataset."""
        assert self.original is not None
        original = chosen(self.original, index)
        shown = torch.cat([self.shown(camera, step).rgba for camera in split(original.camera, 1)])
        self.dataset[index] = self.editor(shown.clamp(0, 1), original, self.instruction, step)

    def shown(self, camera: Any, step: int) -> Render:
        """What the scene shows, as in evaluation."""
        training = self.renderer.training
        render = self.renderer.eval()(self.scene, camera, step)
        self.renderer.train(training)
        return render

    def terms(
        self, render: Render, picture: Float[Tensor, "B H W 4"]
    ) -> dict[str, Callable[[], Float[Tensor, ""]]]:
        """Every loss, to be computed if it is due."""
        rgb, alpha = picture[..., :3], picture[..., 3:]
        return {
            "rgb": lambda: F.l1_loss(render.rgb, rgb),
            "squared": lambda: F.mse_loss(render.rgb, rgb),
            "structure": lambda: 1 - ssim(render.rgb, rgb).mean(),
            "mask": lambda: image.mask_mse(render.alpha, alpha),
        }

    @torch.no_grad()
    def measure(self, data: Any) -> dict[str, float]:
        """PSNR of what is shown to the edited pictures (do they agree?), and to the originals."""
        self.eval()
        assert self.original is not None
        cameras = split(self.original.camera, 1)
        shown = torch.cat([self.renderer(self.scene, c, self.trainer.max_steps).rgb for c in cameras])
        truths = {"edited_psnr": self.dataset, "original_psnr": self.original.rgba}
        return {
            name: float(psnr(shown.clamp(0, 1), each[..., :3].to(shown.device)).mean())
            for name, each in truths.items()
        }

    def pictures(self, batch: Posed) -> dict[str, Float[Tensor, "H W 3"]]:
        """Originals, what the dataset has in their place, what the scene shows."""
        assert self.original is not None
        index = torch.linspace(0, len(self.dataset) - 1, SHOWN).long()
        original = chosen(self.original, index)
        shown = [self.renderer(self.scene, camera, batch.step) for camera in split(original.camera, 1)]
        first, now = row(original.rgba[..., :3]), row(self.dataset[index][..., :3])
        return {"edit": column([first, now, row(render.rgb[0].clamp(0, 1) for render in shown)])}
