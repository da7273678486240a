"""DreamCraft3D, texture boosting by bootstrapped score distillation (Sun et al. 2023, section 3.2).

The geometry stays. In cycles, a DreamBooth model is fine-tuned on augmented renders of the scene, then the
texture follows it: renders get closer to what the model learns, and the model learns from better renders.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from systems.base import Optimization, Weight
from systems.lift import Lift
from threestudio_like.losses.image import eroded, masked_l1
from threestudio_like.ranges import Count, Seed, Whole
from threestudio_like.records import Batch, Render
from threestudio_like.scene import Scene
from threestudio_like.schedule.anneal import Schedule


class Learner(NamedTuple):
    """A network that a guidance may train: by which method, and what its parameters are called."""

    method: str
    parameters: str


class Texture(Lift):
    """`guidance.texture` is BSD, or VSD or SDS in its place; `guidance.view`, if there, a view prior's SDS.

    Due at a step, by their weights: `dreambooth` trains that model, `lora` the score of the renders. What the
    guidance has no network for is not computed, and its learning rate not asked for; steps that only the
    DreamBooth model has are skipped where there is none: the others follow on.
    erosion: pixels taken off the mask of the picture, whose rim is mixed with its background.
    refresh_every: steps of DreamBooth training from one augmented render to the next.
    """

    distillation = ("texture", "view")
    learners = {
        "lora": Learner("fit", "guidance.texture.learner"),
        "dreambooth": Learner("fit_dreambooth", "guidance.texture.dreambooth"),
    }
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
        absent = [name for name, it in self.learners.items() if not hasattr(guidance["texture"], it.method)]
        self.rates = without(self.rates, [self.learners[name].parameters for name in absent])
        if "dreambooth" in absent:
            skipped = Skipped(self.weights["dreambooth"])
            self.weights = {name: partial(skipped, weight) for name, weight in self.weights.items()}
        for name in absent:
            self.weights[name] = nothing

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


class Skipped:
    """Another clock, on which the steps at which a schedule is not zero do not exist."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.steps: list[int] = []  # of the schedule's clock, those that remain

    def __call__(self, weight: Schedule, step: int) -> float:
        """`weight` at the step that comes in the place of this one."""
        latest = self.steps[-1] + 1 if self.steps else 0
        while len(self.steps) <= step:
            if self.schedule(latest) == 0:
                self.steps.append(latest)
            latest += 1
        return weight(self.steps[step])


def nothing(step: int) -> float:
    """The weight of what there is not."""
    return 0.0


def without(rates: Mapping[str, float], names: list[str]) -> dict[str, float]:
    """The learning rates but these."""
    return {name: rate for name, rate in rates.items() if name not in names}
