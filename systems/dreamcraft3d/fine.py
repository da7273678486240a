"""DreamCraft3D, geometry refinement: the coarse surface as a DMTet, under the same hybrid score distillation.

At some steps the 2-D prior is shown the normals instead of the colours ("shape" instead of "image"; three of
four in the official configuration): the schedules of the two weights say when.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from systems.base import Optimization, Weight
from systems.lift import Lift
from threestudio_like.geometry.tetgrid import TetGrid
from threestudio_like.losses import mesh
from threestudio_like.records import Batch, Mesh, Render
from threestudio_like.scene import Scene


class Fine(Lift):
    """The scene's geometry is explicit: deformable tetrahedra, rendered as a mesh.

    strategy: what changes it between steps (geometry/subdivide.py).
    """

    hybrid = ("image", "shape", "view")
    regularisers = ("normal_consistency", "laplacian", "sign_change")
    losses = (*Lift.reference, *hybrid, *regularisers)

    def __init__(
        self,
        *,
        scene: Scene,
        renderer: nn.Module,
        guidance: Mapping[str, nn.Module],
        prompt: str,
        seed: int,
        weights: Mapping[str, Weight],
        optimization: Optimization,
        draw_every: int,
        strategy: nn.Module,
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
        self.strategy = strategy

    def setup(self, stage: str) -> None:
        """One process only: parameters change their number in it alone."""
        strategy: Any = self.strategy  # which one, the configuration says
        if self.trainer.world_size > 1 and hasattr(strategy, "at") and strategy.at:
            raise ValueError("strategy.at: tetrahedra are cut on one device only; leave it empty on several")

    def after_step(self, optimizer: Any, step: int) -> None:
        """The strategy's turn."""
        self.strategy.after_step(self.scene, None, optimizer, step)  # type: ignore[operator]

    def compute(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """A look from the user's camera, one from a random camera, and the surface itself."""
        losses: dict[str, Float[Tensor, ""]] = {}
        surface: Mesh | None = None  # made once a step, for all that look at it
        if self.any_due(self.reference, batch.step):
            seen = self.show(batch.reference.camera, batch.step)
            losses |= self.compared(seen, batch)
            surface = seen.mesh
        if self.any_due(self.hybrid, batch.step):
            imagined = self.renderer(self.scene, batch.camera, batch.step, mesh=surface)
            losses |= self.distilled(imagined, batch)
            surface = imagined.mesh
        if surface is not None:
            losses |= self.regularised(surface, batch.step)
        return losses

    def distilled(self, render: Render, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Hybrid score distillation of one render."""
        losses = {}
        if self.due("image", batch.step):
            losses["image"] = self.judged("image", render.rgba, batch)
        if self.due("shape", batch.step):
            losses["shape"] = self.judged("image", render.normal_rgba, batch)
        if self.due("view", batch.step):
            losses["view"] = self.judged("view", render.rgba, batch)
        return losses

    def regularised(self, surface: Mesh, step: int) -> dict[str, Float[Tensor, ""]]:
        """A smooth surface, and no more of it than there must be."""
        terms = {"normal_consistency": mesh.normal_consistency, "laplacian": mesh.laplacian}
        losses = {name: term(surface) for name, term in terms.items() if self.due(name, step)}
        if self.due("sign_change", step):
            assert isinstance(self.scene.geometry, TetGrid)
            losses["sign_change"] = mesh.sign_change(self.scene.geometry.crossings())
        return losses
