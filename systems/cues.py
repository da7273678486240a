"""Trains an estimator of depth and normals from one picture of an object, by regression.

Depth by the affine-invariant loss of MiDaS (Ranftl et al. 2020), normals by their cosine.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from systems.learn import Learn
from threestudio_like.loggers.images import column, row
from threestudio_like.losses.depth import affine_invariant
from threestudio_like.losses.reference import normal_cosine
from threestudio_like.metrics.cues import depth_error, median_angle
from threestudio_like.ops.depth import painted
from threestudio_like.priors.cues import Cues, Guess
from threestudio_like.records import Example, View

SHOWN = 8  # columns of the sheet


class CuesTraining(Learn):
    """Pictures of objects in, their depth and normals out."""

    losses: ClassVar[tuple[str, ...]] = ("depth", "normal")
    prior: Cues
    averaged: Cues

    def compute(self, batch: Example) -> dict[str, Float[Tensor, ""]]:
        """How far what is told is from what was drawn, under the mask."""
        view = batch.target
        guess, depth = self.prior.guess(view.rgba), view.depth
        assert depth is not None
        return {
            "depth": affine_invariant(guess.depth, depth, view.alpha),
            "normal": normal_cosine(guess.normal, seen_from(view), view.alpha),
        }

    def score(self, batch: Example) -> dict[str, float]:
        """Errors, beside those of a flat picture that faces the camera: what knowing nothing gives."""
        view, guess = batch.target, self.averaged.guess(batch.target.rgba)
        normal, depth = seen_from(view), view.depth
        assert depth is not None
        facing = torch.tensor([0.0, 0.0, 1.0]).to(normal).expand_as(normal)
        values = {
            "normal_median_deg": median_angle(guess.normal, normal, view.alpha),
            "normal_median_deg/flat": median_angle(facing, normal, view.alpha),
            "depth_rmse": depth_error(guess.depth, depth, view.alpha),
            "depth_rmse/flat": depth_error(torch.zeros_like(depth), depth, view.alpha),
        }
        return {name: float(value.nanmean()) for name, value in values.items()}

    def pictures(self, batch: Example) -> dict[str, Float[Tensor, "H W 3"]]:
        """The pictures, true depth and normals, told depth and normals."""
        view, depth = batch.target, batch.target.depth
        assert depth is not None
        guess = self.averaged.guess(view.rgba)
        true = Guess(depth, seen_from(view))
        lines = [view.rgba[..., :3], *shown(true, view), *shown(guess, view)]
        return {"cues": column([row(line[:SHOWN]) for line in lines])}


def seen_from(view: View) -> Float[Tensor, "B H W 3"]:
    """The view's normals in the frames of its cameras."""
    assert view.normal is not None
    return torch.einsum("bji,bhwj->bhwi", view.camera.c2w[:, :3, :3], view.normal)


def shown(guess: Guess, view: View) -> list[Float[Tensor, "B H W 3"]]:
    """Depth (near is light) and normals as colours, over white."""
    normal = (guess.normal + 1) / 2 * view.alpha + 1 - view.alpha
    return [painted(guess.depth, view.alpha), normal]
