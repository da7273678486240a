"""DreamCraft3D, geometry refinement: the coarse surface as a DMTet, under the same hybrid score distillation.

At some steps the 2-D prior is shown the normals instead of the colours ("shape" instead of "image"; three of
four in the official configuration): the schedules of the two weights say when.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from systems.lift import Lift
from threestudio_like.geometry.tetgrid import TetGrid
from threestudio_like.losses import mesh
from threestudio_like.records import Batch, Mesh, Render


class Fine(Lift):
    """The scene's geometry is explicit: deformable tetrahedra, rendered as a mesh."""

    hybrid = ("image", "shape", "view")
    regularisers = ("normal_consistency", "laplacian", "sign_change")
    losses = (*Lift.reference, *hybrid, *regularisers)

    def compute(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """A look from the user's camera, one from a random camera, and the surface itself."""
        losses: dict[str, Float[Tensor, ""]] = {}
        surface: Mesh | None = None
        if self.any_due(self.reference, batch.step):
            seen = self.show(batch.reference.camera, batch.step)
            losses |= self.compared(seen, batch)
            surface = seen.mesh
        if self.any_due(self.hybrid, batch.step):
            imagined = self.show(batch.camera, batch.step)
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
