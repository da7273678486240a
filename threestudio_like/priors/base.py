"""The Prior protocol: a network that knows images, behind one door.

Whatever a family does inside (eps, v, x0 or score; pixels or latents; its own pose vector), outside it
takes the house's pictures and cameras and predicts the noise. A prior does not know that it guides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from threestudio_like.records import Camera, View
from threestudio_like.schedule.vp import VP


class Condition(NamedTuple):
    """What a denoiser is told beside x_t; fields it does not use are None. All are batch first."""

    tokens: Float[Tensor, "B L D"] | None = None  # for cross-attention
    vector: Float[Tensor, "B D"] | None = None  # joins the time embedding: pose or camera
    image: Float[Tensor, "B D h w"] | None = None  # joined to x_t as channels
    # for guidance: what to say in place of `tokens` to push away from, and how much
    negatives: Float[Tensor, "B K L D"] | None = None
    pushes: Float[Tensor, "B K"] | None = None


class Prior(nn.Module):
    """Base of every prior.

    schedule: the noise it was trained with.
    shape: (C, h, w) of the space it denoises in, without the batch.
    """

    schedule: VP
    shape: tuple[int, int, int]

    def encode(self, image: Float[Tensor, "B H W 4"]) -> Float[Tensor, "B C h w"]:
        """Pictures over white with their alpha (`Render.rgba`, `View.rgba`), any size, into its space."""
        raise NotImplementedError

    def decode(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B H W 4"]:
        """Back to pictures over white with alpha (alpha = 1 where the family knows none), in [0, 1]."""
        raise NotImplementedError

    def condition(self, prompts: list[str], camera: Camera, reference: View | None) -> Condition:
        """What to tell the denoiser to see `prompts` (B of them) from `camera`, given a picture (or none).

        A reference of one view is used for all B cameras.
        """
        raise NotImplementedError

    def null(self, condition: Condition) -> Condition:
        """The unconditional counterpart of `condition`, for classifier-free guidance."""
        raise NotImplementedError

    def predict(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], condition: Condition
    ) -> Float[Tensor, "B C h w"]:
        """The noise eps in x_t = sqrt(alpha_bar) x + sqrt(1 - alpha_bar) eps."""
        raise NotImplementedError


class Borrower(nn.Module):
    """Base of what uses a frozen prior: it takes it along to a device, but neither trains nor saves it.

    The prior sits in a tuple, where nn.Module does not look for parameters or state.
    """

    def __init__(self, *, prior: Prior) -> None:
        super().__init__()
        self._borrowed = (prior.requires_grad_(False).eval(),)

    @property
    def prior(self) -> Prior:
        """The frozen prior."""
        return self._borrowed[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Borrower:
        self.prior._apply(fn, recurse)
        return super()._apply(fn, recurse)


class Learner(Borrower, Prior):
    """A prior that learns beside a frozen one, in the same space, and is told the camera as well.

    The camera rides at the end of `Condition.vector` as its flattened c2w; zeros stand for no camera.
    """

    camera_channels = 16

    def __init__(self, *, prior: Prior) -> None:
        super().__init__(prior=prior)
        self.schedule = prior.schedule
        self.shape = prior.shape

    def encode(self, image: Float[Tensor, "B H W 4"]) -> Float[Tensor, "B C h w"]:
        """As the frozen prior does."""
        return self.prior.encode(image)

    def decode(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B H W 4"]:
        """As the frozen prior does."""
        return self.prior.decode(x)

    def condition(self, prompts: list[str], camera: Camera, reference: View | None) -> Condition:
        """The frozen prior's, and the camera."""
        return self._told(self.prior.condition(prompts, camera, reference), camera.c2w.flatten(1))

    def null(self, condition: Condition) -> Condition:
        """Neither the frozen prior's condition nor the camera."""
        inner, camera = self.split(condition)
        return self._told(self.prior.null(inner), torch.zeros_like(camera))

    def without_camera(self, condition: Condition) -> Condition:
        """The same, seen from nowhere."""
        inner, camera = self.split(condition)
        return self._told(inner, torch.zeros_like(camera))

    def split(self, condition: Condition) -> tuple[Condition, Float[Tensor, "B 16"]]:
        """The frozen prior's condition and the camera."""
        assert condition.vector is not None, "a condition that this learner has not made"
        sizes = [condition.vector.shape[1] - self.camera_channels, self.camera_channels]
        own, camera = condition.vector.split(sizes, dim=1)
        return condition._replace(vector=own if own.shape[1] else None), camera

    def _told(self, inner: Condition, camera: Float[Tensor, "B 16"]) -> Condition:
        parts = [camera] if inner.vector is None else [inner.vector, camera.to(inner.vector.dtype)]
        return inner._replace(vector=torch.cat(parts, dim=1))
