"""DreamCraft3D, geometry sculpting (Sun et al. 2023, section 3.1): a volume under hybrid score distillation.

A NeuS as in the paper; in the official configuration a NeRF first, whose surface the NeuS begins with.

L = L_reference + L_SDS(2-D prior) + mu L_3D-SDS(view prior) + regularisers; mu is the two weights' ratio.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from systems.lift import Lift
from threestudio_like.geometry.base import Implicit, Volume
from threestudio_like.losses import shape
from threestudio_like.records import Batch, Render, Samples

BESIDE = 0.01  # deviation of a step beside a point, world units: the official value


class Coarse(Lift):
    """`guidance.image` is the 2-D prior's, `guidance.view` the view-conditioned prior's."""

    hybrid = ("image", "view")
    regularisers = ("eikonal", "orient", "sparsity", "opaque", "normal_smooth", "solid_smooth")
    losses = (*Lift.reference, *hybrid, *regularisers)

    def compute(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """A look from the user's camera, and one from a random camera."""
        losses: dict[str, Float[Tensor, ""]] = {}
        if self.any_due(self.reference, batch.step):
            seen = self.show(batch.reference.camera, batch.step)
            losses |= self.compared(seen, batch) | self.regularised(seen, batch.step)
        if self.any_due(self.hybrid, batch.step):
            imagined = self.show(batch.camera, batch.step)
            for name in self.hybrid:
                if self.due(name, batch.step):
                    losses[name] = self.judged(name, imagined.rgba, batch)
            for name, loss in self.regularised(imagined, batch.step).items():
                losses[name] = losses[name] + loss if name in losses else loss
        return losses

    def regularised(self, render: Render, step: int) -> dict[str, Float[Tensor, ""]]:
        """What a good surface looks like, whatever it shows."""
        samples = render.samples
        assert samples is not None, "this stage renders a volume"
        terms = {
            "eikonal": lambda: self.eikonal(samples),
            "orient": lambda: shape.orientation(samples),
            "sparsity": lambda: shape.sparsity(render.alpha),
            "opaque": lambda: shape.opacity_entropy(render.alpha),
            "normal_smooth": lambda: shape.normal_smoothness(render.normal),
            "solid_smooth": lambda: self.solid_smoothness(samples),
        }
        return {name: term() for name, term in terms.items() if self.due(name, step)}

    def eikonal(self, samples: Samples) -> Float[Tensor, ""]:
        """Of distances; a fog has none."""
        if samples.sdf is None:
            raise ValueError("weights.eikonal: a fog has no distances; set it to 0")
        return shape.eikonal(samples)

    def solid_smoothness(self, samples: Samples) -> Float[Tensor, ""]:
        """Of the field where it was met, whatever kind of field it is: it is evaluated once more, beside."""
        geometry = self.scene.geometry
        assert isinstance(geometry, (Implicit, Volume))
        beside = geometry.normals(samples.points + BESIDE * torch.randn_like(samples.points))
        return shape.solid_smoothness(F.normalize(samples.gradients, dim=-1), beside)
