"""Zero-1-to-3's 3-D reconstruction (Liu et al. 2023, section 3.3): a radiance field by a view prior alone.

L = L_picture + L_prior (SJC, or SDS) + near-view consistency + depth smoothness + emptiness; no words.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from systems.lift import Lift
from threestudio_like.losses import shape
from threestudio_like.losses.image import roughness
from threestudio_like.ops.camera import orbit, spherical
from threestudio_like.records import Batch, Camera, Render

NEAR = 0.05  # world units from a camera to the one beside it (official code)


class Reconstruction(Lift):
    """`guidance.view` is the view prior's; `near`, `smooth` and `emptiness` are the official code's.

    `opaque` is ours: a fog has no surface to export.
    """

    regularisers = ("near", "smooth", "emptiness", "opaque")
    losses = (*Lift.reference, "view", *regularisers)

    def compute(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """A look from the user's camera, and one from each random camera."""
        losses: dict[str, Float[Tensor, ""]] = {}
        if self.any_due(self.reference, batch.step):
            losses |= self.compared(self.show(batch.reference.camera, batch.step), batch)
        if self.any_due(("view", *self.regularisers), batch.step):
            imagined = self.show(batch.camera, batch.step)
            if self.due("view", batch.step):
                losses["view"] = self.judged("view", imagined.rgba, batch)
            losses |= self.regularised(imagined, batch)
        return losses

    def regularised(self, render: Render, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """What an object looks like, whatever it is."""
        terms: dict[str, Callable[[], Float[Tensor, ""]]] = {
            "near": lambda: self.unsteadiness(render, batch),
            "smooth": lambda: roughness(thickness(render)),
            "emptiness": lambda: self.emptiness(render),
            "opaque": lambda: shape.opacity_entropy(render.alpha),
        }
        return {name: term() for name, term in terms.items() if self.due(name, batch.step)}

    def unsteadiness(self, render: Render, batch: Batch) -> Float[Tensor, ""]:
        """How much colours, mask and depth change a small step aside."""
        beside = self.show(aside(batch.camera, NEAR), batch.step)
        return F.l1_loss(beside.rgba, render.rgba) + F.l1_loss(thickness(beside), thickness(render))

    def emptiness(self, render: Render) -> Float[Tensor, ""]:
        """SJC's, of what the rays met."""
        if render.samples is None:
            raise ValueError("weights.emptiness: needs renderer.normals: true, or set it to 0")
        return shape.emptiness(render.samples.weights, render.alpha.numel())


def thickness(render: Render) -> Float[Tensor, "B H W 1"]:
    """Depth as the rays add it up, not divided by alpha: it falls to 0 at an outline without a jump."""
    return render.depth * render.alpha


def aside(camera: Camera, distance: float) -> Camera:
    """Cameras this far from the given ones, in random directions, that look at the origin too."""
    away = F.normalize(torch.randn(len(camera.c2w), 3), dim=-1).to(camera.c2w)
    moved = camera.c2w.clone()
    moved[:, :3, 3] += distance * away
    azimuth, elevation, radius = spherical(camera._replace(c2w=moved))
    return orbit(
        azimuth=azimuth,
        elevation=elevation,
        distance=radius,
        fov_y=camera.fov_y,
        height=camera.height,
        width=camera.width,
    )
