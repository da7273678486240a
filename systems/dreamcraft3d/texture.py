"""DreamCraft3D, texture boosting by bootstrapped score distillation (Sun et al. 2023, section 3.2).

The geometry stays. In cycles, a DreamBooth model is fine-tuned on augmented renders of the scene, then the
texture follows it: renders get closer to what the model learns, and the model learns from better renders.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from systems.base import Optimization, Weight
from systems.lift import Lift
from threestudio_like.losses.image import eroded, masked_l1
from threestudio_like.ranges import Count, Seed, Whole
from threestudio_like.records import Batch, Render
from threestudio_like.scene import Scene


class Texture(Lift):
    """`guidance.texture` is BSD, or VSD or SDS in its place; `guidance.view`, if there, a view prior's SDS.

    Due at a step, by their weights: `dreambooth` trains that model, `lora` the score of the renders.
    erosion: pixels taken off the mask of the picture, whose rim is mixed with its background.
    refresh_every: steps of DreamBooth training from one augmented render to the next.
    """

    distillation = ("texture", "view")
    learners = ("lora", "dreambooth")
    losses = ("rgb", *distillation, *learners)

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
        erosion: Whole,
        refresh_every: Count,
    ) -> None:
        super().__init__(
            scene=scene,
            renderer=renderer,
            guidance=guidance,
            prompt=prompt,
            seed=seed,
            weights=weights,
            optimization=optimization,
            draw_every=draw_every,
        )
        self.erosion = erosion
        self.refresh_every = refresh_every

    def compute(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """The picture's colours; then what priors say of a random view, and what they learn from it."""
        losses: dict[str, Float[Tensor, ""]] = {}
        if self.due("rgb", batch.step):
            losses["rgb"] = self.colours(self.show(batch.reference.camera, batch.step), batch)
        if self.any_due((*self.distillation, *self.learners), batch.step):
            imagined = self.show(batch.camera, batch.step)
            for name in self.distillation:
                if self.due(name, batch.step):
                    losses[name] = self.judged(name, imagined.rgba, batch)
            losses |= self.learned(imagined, batch)
        return losses

    def colours(self, render: Render, batch: Batch) -> Float[Tensor, ""]:
        """L1 under the eroded mask."""
        picture = batch.reference.rgba
        return masked_l1(render.rgb, picture[..., :3], eroded(picture[..., 3:], self.erosion))

    def learned(self, render: Render, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """The losses of the networks that learn the scene."""
        losses: dict[str, Float[Tensor, ""]] = {}
        guidance: Any = self.guidance["texture"]  # which one, the configuration says
        prompts = [self.prompt] * len(render.rgb)
        seen = (render.rgba.detach(), prompts, batch.camera, batch.reference, batch.step)
        if self.due("dreambooth", batch.step):
            if batch.step % self.refresh_every == 0:
                guidance.refresh(*seen)
            losses["dreambooth"] = guidance.fit_dreambooth(batch.reference, batch.step)
        if self.due("lora", batch.step):
            losses["lora"] = guidance.fit(*seen)
        return losses
