"""The gate of a view prior (metrics/gate.py says what it asks): one step answers one task of data/trials.py.

Nothing is trained: a task is sampled, or distilled into scenes of its own, and its scores are kept with the
checkpoint. All arms of a distillation have the same start, cameras, noise, losses and steps; they differ in
what the prior is told.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from systems.base import Optimization, Weight, check_names, mixed, parameter_groups
from systems.denoise import Evaluation, sampled
from systems.observe import Observe
from threestudio_like.data.album import camera, poses
from threestudio_like.data.trials import Pairs, Subject, Task
from threestudio_like.guidance.base import Guidance
from threestudio_like.loggers.images import column, row
from threestudio_like.losses.reference import reference_losses
from threestudio_like.losses.shape import opacity_entropy, sparsity
from threestudio_like.metrics import gate
from threestudio_like.metrics.gate import PairScore, Rules, SceneScore
from threestudio_like.metrics.image import compared, psnr
from threestudio_like.metrics.paired import Estimate
from threestudio_like.metrics.shape import depths, occupancy, volume_iou
from threestudio_like.priors.base import Prior
from threestudio_like.ranges import Cells, Count, Positive, Seed
from threestudio_like.records import Camera, Mesh, Render
from threestudio_like.scene import Scene
from threestudio_like.schedule.anneal import as_schedule

log = logging.getLogger(__name__)
ARMS = (*gate.CONTROLS, gate.TRUE_POSES)
LOSSES = ("rgb", "mask", "guidance", "opaque", "sparsity")
EQUAL = 60.0  # dB: pictures nearer than this are the same; two of a turned vase would count infinitely
SHOWN, ENLARGED = 3, 3  # new views of each arm on the sheet; pixels that show one


class Distillation(NamedTuple):
    """How a scene is made of one picture: `steps` looks at it, and at as many `views` at random cameras."""

    scene: Scene
    renderer: nn.Module
    guidance: Callable[..., Guidance]  # is given the prior
    optimization: Optimization
    weights: Mapping[str, Weight]
    steps: Count
    views: Count


class Ruler(NamedTuple):
    """How volumes are measured; as metrics/shape.py names it. lattice: cells of the surface's."""

    directions: Count
    reach: Positive
    resolution: Cells
    lattice: Cells

    def inside(self, mesh: Mesh) -> Bool[Tensor, "R R R"]:
        """The cells that a mesh fills."""
        return occupancy(depths(mesh, self.reach, self.directions), self.reach, self.resolution)


class Gate(Observe):
    """Judges `prior`; leaves gate.json, a sheet of pictures, and the tables in the log.

    evaluation: how it is sampled; its card joins gate.json.
    """

    def __init__(
        self,
        *,
        prior: Prior,
        evaluation: Evaluation,
        distillation: Distillation,
        ruler: Ruler,
        rules: Rules,
        seed: Seed,
    ) -> None:
        super().__init__()
        check_names(LOSSES, distillation.weights)
        self.guidance = distillation.guidance(prior=prior)  # holds the prior: frozen, not in checkpoints
        self.evaluation, self.distillation, self.ruler, self.rules = evaluation, distillation, ruler, rules
        self.weights = {name: as_schedule(weight) for name, weight in distillation.weights.items()}
        self.seed = seed
        self.pairs: list[PairScore] = []
        self.scenes: list[SceneScore] = []
        self.rows: list[Tensor] = []  # of the sheet

    def training_step(self, task: Task, batch_idx: int) -> None:
        """Answer, keep the scores, show them."""
        torch.manual_seed(mixed(self.seed, task.step))
        if task.pairs is not None:
            self.answer_pairs(task.pairs, task.step)
        if task.subject is not None:
            self.answer_subject(task.subject, task.step)
        verdict = gate.judged(self.pairs, self.scenes, self.rules)
        self.log_dict(dict(numbers(verdict)))
        self.tick()

    @torch.no_grad()
    def answer_pairs(self, pairs: Pairs, step: int) -> None:
        """Samples, and what they must beat."""
        prior = self.guidance.prior
        truth, given = (prior.decode(prior.encode(view.rgba)) for view in (pairs.target, pairs.reference))
        noise = torch.randn(len(truth), *prior.shape).to(self.device)

        def seen(camera: Camera) -> Float[Tensor, "B H W 4"]:
            condition = prior.condition(pairs.names, camera, pairs.reference)
            return prior.decode(sampled(prior, self.evaluation, condition, noise))

        guesses = {
            gate.SAMPLE: seen(pairs.target.camera),
            gate.WRONG_POSE: seen(pairs.wrong),
            "copied_input": given,
            "mean_picture": prior.decode(prior.encode(pairs.mean.expand(len(truth), -1, -1, -1))),
            "nearest_training": prior.decode(prior.encode(pairs.nearest)),
        }
        scores = {guess: compared(picture, truth) for guess, picture in guesses.items()}
        for i, (name, (low, high)) in enumerate(zip(pairs.names, pairs.apart, strict=True)):
            own = {g: {m: min(float(v[i]), EQUAL) for m, v in each.items()} for g, each in scores.items()}
            self.pairs.append(PairScore(name, low, high, own))
        shown = [given, truth, guesses[gate.SAMPLE], guesses[gate.WRONG_POSE], guesses["nearest_training"]]
        self.show("samples", column([row(each[..., :3]) for each in shown]), step, ENLARGED)

    def answer_subject(self, subject: Subject, step: int) -> None:
        """A scene in each arm."""
        truth = self.ruler.inside(subject.mesh)
        scores: dict[str, dict[str, float]] = {}
        strips = [subject.reference.rgba[0, ..., :3]]
        for arm in ARMS:
            scene, renderer = self.distilled(subject, arm, mixed(self.seed, step))
            with torch.no_grad():
                novel = renderer.eval()(scene, subject.novel.camera, self.distillation.steps)
            scores[arm] = {
                "iou": volume_iou(self.filled(scene), truth),
                "psnr": float(psnr(novel.rgb, subject.novel.rgba[..., :3]).mean()),
            }
            strips += list(novel.rgb[:SHOWN])
        strips += list(subject.novel.rgba[:SHOWN, ..., :3])
        self.scenes.append(SceneScore(subject.name, subject.repeat, scores))
        self.show("distilled", row(strips), step, ENLARGED)
        if subject.repeat == 0:
            self.rows.append((row(strips).cpu() * 255).round().byte())
        told = ", ".join(f"{arm} {each['iou']:.3f}" for arm, each in scores.items())
        log.info("%s, time %d: volume IoU %s", subject.name, subject.repeat + 1, told)

    def filled(self, scene: Scene) -> Bool[Tensor, "R R R"]:
        """The cells that a scene fills; one that has vanished fills none."""
        try:
            return self.ruler.inside(scene.geometry.surface(self.ruler.lattice))  # type: ignore[operator]
        except ValueError as error:
            log.warning("nothing is left of a scene: %s", error)
            return torch.zeros([self.ruler.resolution] * 3, dtype=torch.bool)

    def distilled(self, subject: Subject, arm: str, seed: int) -> tuple[Scene, nn.Module]:
        """One scene from its start, and the renderer that has got to know it."""
        plan = self.distillation
        scene = copy.deepcopy(plan.scene).to(self.device)
        renderer = copy.deepcopy(plan.renderer).to(self.device)
        optimizer = plan.optimization.optimizer(parameter_groups(scene, plan.optimization.learning_rates))
        true, wrong = (np.random.default_rng([seed, which]) for which in range(2))
        torch.manual_seed(seed)
        for step in range(plan.steps):
            cameras, stray = (self.cameras(rng, subject) for rng in (true, wrong))
            seen = renderer.train()(scene, subject.reference.camera, step)
            losses = {k: v for k, v in reference_losses(seen, subject.reference).items() if k in LOSSES}
            if arm != "reference_only":
                imagined = renderer(scene, cameras, step)
                told = stray if arm == "wrong_poses" else cameras
                losses |= self.judged(imagined, subject, told, arm, step)
            total = torch.stack([self.weights[name](step) * loss for name, loss in losses.items()]).sum()
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        return scene, renderer

    def judged(
        self, render: Render, subject: Subject, told: Camera, arm: str, step: int
    ) -> dict[str, Float[Tensor, ""]]:
        """What the prior says of a render, told a camera and a picture; and what holds of any object."""
        reference = subject.other if arm == "other_picture" else subject.reference
        names = [subject.name] * len(render.rgb)
        return {
            "guidance": self.guidance(render.rgba, names, told, reference, step),
            "opaque": opacity_entropy(render.alpha),
            "sparsity": sparsity(render.alpha),
        }

    def cameras(self, rng: np.random.Generator, subject: Subject) -> Camera:
        """Random ones."""
        found = camera(poses(rng, self.distillation.views, subject.cameras), subject.cameras)
        return found._replace(c2w=found.c2w.to(self.device), fov_y=found.fov_y.to(self.device))

    def on_fit_end(self) -> None:
        """The verdict, when all tasks are done."""
        if self.trainer.global_step < self.trainer.max_steps:
            return
        verdict = gate.judged(self.pairs, self.scenes, self.rules)
        for line in gate.lines(verdict):
            log.info("%s", line)
        self.report("gate.json", {**self.evaluation.card, **plain(verdict)})
        if self.rows:
            sheet = column([each.float() / 255 for each in self.rows])
            self.show("sheet", sheet, self.trainer.global_step - 1, ENLARGED)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Plain values only."""
        kept = {"pairs": list(map(tuple, self.pairs)), "scenes": list(map(tuple, self.scenes))}
        checkpoint["gate"] = {**kept, "rows": self.rows}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What was answered before."""
        kept = checkpoint["gate"]
        self.pairs = [PairScore(*values) for values in kept["pairs"]]
        self.scenes = [SceneScore(*values) for values in kept["scenes"]]
        self.rows = kept["rows"]


def plain(tree: Any) -> Any:
    """A verdict as JSON has it: estimates by name, numbers to four digits."""
    if isinstance(tree, Estimate):
        return {name: plain(value) for name, value in tree._asdict().items()}
    if isinstance(tree, Mapping):
        return {name: plain(value) for name, value in tree.items()}
    return float(f"{tree:.4g}") if isinstance(tree, float) else tree


def numbers(tree: Mapping[str, Any], key: str = "") -> list[tuple[str, float]]:
    """Every number of a verdict with its path."""
    found: list[tuple[str, float]] = []
    for name, value in tree.items():
        if isinstance(value, Estimate):
            found.append((f"{key}{name}", value.mean))
            found += [] if value.error is None else [(f"{key}{name}/error", value.error)]
        elif isinstance(value, Mapping):
            found += numbers(value, f"{key}{name}/")
        else:
            found.append((f"{key}{name}", float(value)))
    return found
