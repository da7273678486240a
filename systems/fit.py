"""Fitting a scene to pictures whose cameras are known; no prior is asked.

NeRF (Mildenhall et al. 2020), NeuS (Wang et al. 2021), nvdiffrec's DMTet (Munkberg et al. 2022) and Gaussian
splatting (Kerbl et al. 2023) are this system, each with its geometry, its renderer and its losses' weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from systems.base import Optimization, System, Weight, kept_share
from threestudio_like.data import hull
from threestudio_like.geometry.base import Cloud, Geometry
from threestudio_like.geometry.convert import begin, fit_box, fit_sdf
from threestudio_like.geometry.sdf import SDF
from threestudio_like.geometry.tetgrid import TetGrid
from threestudio_like.loggers.images import column, row
from threestudio_like.losses import image, mesh, shape
from threestudio_like.losses.reference import normal_cosine
from threestudio_like.metrics.image import mask_iou, psnr, ssim
from threestudio_like.ops.camera import split
from threestudio_like.ranges import Count, Seed
from threestudio_like.records import Posed, Render, View
from threestudio_like.scene import Scene
from threestudio_like.schedule.anneal import Schedule

T = TypeVar("T")


class Fit(System):
    """Holds the scene and the renderer that shows it.

    Losses by what they need: any renderer and pictures (rgb, squared, structure, mask, opaque); pictures with
    depth or normals, as those of meshes are (depth, normal); samples of a volume (eikonal, orient); a mesh
    (normal_consistency, laplacian); tetrahedra (sign_change).

    hull: signed distances begin as the visual hull of the pictures, unless a stage before has made something.
    strategy: what changes the scene between steps (geometry/densify.py), or null.
    pace: factor on the learning rates, at each step.
    """

    losses = (
        "rgb",
        "squared",
        "structure",
        "mask",
        "depth",
        "normal",
        "eikonal",
        "orient",
        "opaque",
        "normal_consistency",
        "laplacian",
        "sign_change",
    )

    def __init__(
        self,
        *,
        scene: Scene,
        renderer: nn.Module,
        hull: bool,
        strategy: nn.Module | None,
        pace: Schedule,
        seed: Seed,
        weights: Mapping[str, Weight],
        optimization: Optimization,
        draw_every: Count,
    ) -> None:
        super().__init__(seed=seed, weights=weights, optimization=optimization, draw_every=draw_every)
        self.scene = scene
        self.renderer = renderer
        self.hull = hull
        self.strategy = strategy
        self.pace = pace
        self.kept: float | None = None
        self.shown: Render | None = None

    def begin_from(self, scene: Scene) -> None:
        """Take over what the stage before has made, and measure how much of its volume that kept.

        Gaussians that begin on a surface are too faint to have one of their own.
        """
        target, source = self.scene.geometry, scene.geometry
        assert isinstance(target, Geometry) and isinstance(source, Geometry)
        begin(target, source)
        self.hull = False
        if isinstance(target, Cloud):
            return
        self.kept = kept_share(source, target)

    def setup(self, stage: str) -> None:
        """Before a checkpoint is read and an optimiser is made."""
        if self.hull:
            self.begin_with_hull(self.trainer.datamodule.views[0])  # type: ignore[attr-defined]

    def begin_with_hull(self, view: View) -> None:
        """The geometry as what all pictures allow."""
        geometry, box = self.scene.geometry, torch.stack(hull.box(view))
        if isinstance(geometry, TetGrid):
            fit_box(geometry, box)
            geometry.sample(lambda points: hull.outside(view, points))
        elif isinstance(geometry, SDF):
            fit_sdf(geometry, lambda points: hull.outside(view, points), hull.skin(view, box))
        else:
            raise ValueError("hull: only signed distances can begin as a visual hull; set it to false")

    def on_train_batch_start(self, batch: Posed, batch_idx: int) -> None:
        """Learning rates are functions of the step."""
        self.keep_pace(self.pace(batch.step))

    def after_step(self, optimizer: Any, step: int) -> None:
        """The strategy's turn."""
        if self.strategy is not None:
            self.strategy.after_step(self.scene, self.shown, optimizer, step)  # type: ignore[operator]
            self.shown = None

    def compute(self, batch: Posed) -> dict[str, Float[Tensor, ""]]:
        """One look from the cameras of the step's pictures."""
        render = self.renderer(self.scene, batch.view.camera, batch.step)
        self.shown = None if self.strategy is None else render
        terms = self.terms(render, batch.view)
        return {name: term() for name, term in terms.items() if self.due(name, batch.step)}

    def terms(self, render: Render, view: View) -> dict[str, Callable[[], Float[Tensor, ""]]]:
        """Every loss, to be computed if it is due."""
        picture = view.rgba[..., :3]

        def both() -> Float[Tensor, "B H W 1"]:
            return view.alpha * render.alpha.detach()

        return {
            "rgb": lambda: F.l1_loss(render.rgb, picture),
            "squared": lambda: F.mse_loss(render.rgb, picture),
            "structure": lambda: 1 - ssim(render.rgb, picture).mean(),
            "mask": lambda: image.mask_mse(render.alpha, view.alpha),
            "depth": lambda: image.masked_l1(render.depth, there("depth", view.depth), both()),
            "normal": lambda: normal_cosine(render.normal, there("normal", view.normal), both()),
            "eikonal": lambda: shape.eikonal(there("eikonal", render.samples)),
            "orient": lambda: shape.orientation(there("orient", render.samples)),
            "opaque": lambda: shape.opacity_entropy(render.alpha),
            "normal_consistency": lambda: mesh.normal_consistency(there("normal_consistency", render.mesh)),
            "laplacian": lambda: mesh.laplacian(there("laplacian", render.mesh)),
            "sign_change": lambda: mesh.sign_change(self.crossings()),
        }

    def crossings(self) -> Float[Tensor, "E 2"]:
        """Of the lattice's edges through the surface, the signed distances at both ends."""
        geometry: Any = self.scene.geometry
        if not hasattr(geometry, "crossings"):
            raise ValueError(f"weights.sign_change: a {type(geometry).__name__} has no lattice; set it to 0")
        return geometry.crossings()

    @torch.no_grad()
    def measure(self, data: Any) -> dict[str, float]:
        """How well pictures that were never fitted are foretold: means over them."""
        self.eval()
        unseen = on(data.unseen, self.device)
        shown = [
            self.renderer(self.scene, camera, self.trainer.max_steps) for camera in split(unseen.camera, 1)
        ]
        rgb, alpha = torch.cat([one.rgb for one in shown]), torch.cat([one.alpha for one in shown])
        picture = unseen.rgba[..., :3]
        found = {
            "psnr": psnr(rgb.clamp(0, 1), picture),
            "ssim": ssim(rgb.clamp(0, 1), picture),
            "silhouette_iou": mask_iou(alpha, unseen.alpha),
        }
        scores = {name: float(values.mean()) for name, values in found.items()}
        return scores if self.kept is None else {**scores, "handover_iou": self.kept}

    def pictures(self, batch: Posed) -> dict[str, Float[Tensor, "H W 3"]]:
        """Unseen pictures, what the scene shows in their place, and its normals."""
        shown = [self.renderer(self.scene, camera, batch.step) for camera in split(batch.unseen.camera, 1)]
        truth = row(list(batch.unseen.rgba[..., :3]))
        colour = row([render.rgb[0].clamp(0, 1) for render in shown])
        normal = row([render.normal_rgba[0, ..., :3] for render in shown])
        return {"unseen": column([truth, colour, normal])}


def there(name: str, value: T | None) -> T:
    """What a loss needs, or the user's mistake."""
    if value is None:
        raise ValueError(f"weights.{name}: neither pictures nor renderer of this stage have what it needs")
    return value


def on(view: View, device: torch.device) -> View:
    """The pictures on a device."""
    camera = view.camera
    shift = None if camera.shift is None else camera.shift.to(device)
    camera = camera._replace(c2w=camera.c2w.to(device), fov_y=camera.fov_y.to(device), shift=shift)
    return View(camera, view.rgb.to(device), view.alpha.to(device))
