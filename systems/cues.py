"""Trains an estimator of depth and normals (and of the mask) from one picture of an object, by regression.

Depth by the affine-invariant loss of MiDaS (Ranftl et al. 2020), normals by their cosine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from systems.base import Optimization, Weight
from systems.learn import Learn, Pace
from threestudio_like.loggers.images import column, row
from threestudio_like.losses.depth import affine_invariant
from threestudio_like.losses.reference import normal_cosine
from threestudio_like.metrics.cues import depth_error, median_angle
from threestudio_like.metrics.image import mask_iou
from threestudio_like.ops.depth import painted
from threestudio_like.priors.cues import Cues, Guess
from threestudio_like.records import Example, View

SHOWN = 8  # columns of the sheet


class CuesTraining(Learn):
    """Pictures of objects in, their depth and normals out.

    uncut: share of the examples shown before a background, without alpha: there the mask is learnt.
    """

    losses: ClassVar[tuple[str, ...]] = ("depth", "normal", "mask")
    prior: Cues
    averaged: Cues

    def __init__(
        self,
        *,
        prior: Cues,
        uncut: float,
        pace: Pace,
        card: Mapping[str, Any],
        seed: int,
        weights: Mapping[str, Weight],
        optimization: Optimization,
        draw_every: int,
    ) -> None:
        super().__init__(
            prior=prior,
            pace=pace,
            card=card,
            seed=seed,
            weights=weights,
            optimization=optimization,
            draw_every=draw_every,
        )
        self.uncut = uncut

    def compute(self, batch: Example) -> dict[str, Float[Tensor, ""]]:
        """The first examples are cut out, the others are not."""
        view, count = batch.target, round(len(batch.prompts) * (1 - self.uncut))
        image = torch.cat([view.rgba[:count], uncut(batch)[count:]])
        guess = self.prior.guess(image)
        normal, depth = seen_from(view), view.depth
        assert depth is not None
        losses = {
            "depth": affine_invariant(guess.depth, depth, view.alpha),
            "normal": normal_cosine(guess.normal, normal, view.alpha),
        }
        if self.due("mask", batch.step):
            asked, alpha = guess.mask[count:], view.alpha[count:]
            losses["mask"] = F.binary_cross_entropy_with_logits(asked, alpha)
        return losses

    def score(self, batch: Example) -> dict[str, float]:
        """Errors, beside those of a flat picture that faces the camera: what knowing nothing gives."""
        view, guess = batch.target, self.averaged.guess(batch.target.rgba)
        normal, depth = seen_from(view), view.depth
        assert depth is not None
        facing = torch.tensor([0.0, 0.0, 1.0]).to(normal).expand_as(normal)
        mask = self.averaged.guess(uncut(batch)).mask.sigmoid()
        values = {
            "normal_median_deg": median_angle(guess.normal, normal, view.alpha),
            "normal_median_deg/flat": median_angle(facing, normal, view.alpha),
            "depth_rmse": depth_error(guess.depth, depth, view.alpha),
            "depth_rmse/flat": depth_error(torch.zeros_like(depth), depth, view.alpha),
            "mask_iou": mask_iou(mask, view.alpha),
        }
        return {name: float(value.nanmean()) for name, value in values.items()}

    def pictures(self, batch: Example) -> dict[str, Float[Tensor, "H W 3"]]:
        """Of the cut-out: true and told depth, true and told normals. Before a background: the mask."""
        view, depth = batch.target, batch.target.depth
        assert depth is not None
        guess, photo = self.averaged.guess(view.rgba), uncut(batch)
        mask = self.averaged.guess(photo).mask.sigmoid().expand_as(view.rgb)
        true = Guess(depth, seen_from(view), guess.mask)
        lines = [view.rgba[..., :3], *shown(true, view), *shown(guess, view), photo[..., :3], mask]
        return {"cues": column([row(line[:SHOWN]) for line in lines])}


def uncut(batch: Example) -> Float[Tensor, "B H W 4"]:
    """The pictures before their backgrounds, alpha unknown: 0."""
    assert batch.reference is not None
    return F.pad(batch.reference.rgb, (0, 1))


def seen_from(view: View) -> Float[Tensor, "B H W 3"]:
    """The view's normals in the frames of its cameras."""
    assert view.normal is not None
    return torch.einsum("bji,bhwj->bhwi", view.camera.c2w[:, :3, :3], view.normal)


def shown(guess: Guess, view: View) -> list[Float[Tensor, "B H W 3"]]:
    """Depth (near is light) and normals as colours, over white."""
    normal = (guess.normal + 1) / 2 * view.alpha + 1 - view.alpha
    return [painted(guess.depth, view.alpha), normal]
