"""A small view-conditioned prior after Zero-1-to-3 (Liu et al. 2023), with the geometry lift of lift.py.

The source picture is concatenated to x_t, and a vector joins the time embedding: the relative pose (pose.py),
or the paper's token of picture and pose (image_token.py; in cross-attention one token is no more than a
bias, as a softmax over one key is 1). With a lift, the source's features seen from the target camera are
concatenated too; flat.py, features that are only told the pose, is the control. Trained from scratch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.priors.base import Condition
from threestudio_like.priors.flat import Flat
from threestudio_like.priors.image_token import Token
from threestudio_like.priors.lift import Lift
from threestudio_like.priors.pixels import CHANNELS, Pixels, without
from threestudio_like.priors.pose import Pose
from threestudio_like.priors.unet import BLOCK, Denoiser, autocast
from threestudio_like.priors.weights import load
from threestudio_like.ranges import Side, Third
from threestudio_like.records import Camera, View
from threestudio_like.schedule.prediction import Prediction
from threestudio_like.schedule.vp import VP


class Zero123(Pixels):
    """p(picture from the target camera | a picture, its camera).

    prediction: what the denoiser says: eps, v or x0.
    pose: makes the vector. lift: null for the plain Zero-1-to-3.
    dropout: u of the paper: pose alone, picture alone, and both are dropped in u of the examples each.
    weights: of a trained one: a name in bundled/ or a file; null for a new one.
    """

    def __init__(
        self,
        *,
        schedule: VP,
        size: Side,
        denoiser: Denoiser,
        prediction: Prediction,
        pose: Pose | Token,
        lift: Lift | Flat | None,
        dropout: Third,
        weights: str | None,
    ) -> None:
        super().__init__(schedule=schedule, size=size, denoiser=denoiser)
        self.prediction = prediction
        self.picture_channels = CHANNELS * BLOCK**2
        self.dropout = dropout
        self.pose = pose
        self.lift = lift
        told = self.picture_channels + (0 if lift is None else lift.out_channels)
        if denoiser.image_channels != told:
            given = denoiser.image_channels
            raise ValueError(f"denoiser.image_channels: must be {told}, of picture and lift, not {given}")
        if weights is not None:
            load(self, weights)

    def condition(self, prompts: list[str], camera: Camera, reference: View | None) -> Condition:
        """Pose and lift are computed here, once; prompts are not used."""
        if reference is None:
            raise ValueError("zero123: needs a reference picture")
        with autocast(camera.c2w.device):
            count = len(camera.c2w)
            picture = self.encode(reference.rgba)
            vector = self.pose(picture, reference.camera, camera)
            parts = [F.pixel_unshuffle(picture, BLOCK).expand(count, -1, -1, -1)]
            if self.lift is not None:
                parts.append(self.lift(picture, reference.camera, camera, vector).float())
        return Condition(vector=vector.float(), image=torch.cat(parts, 1))

    def null(self, condition: Condition) -> Condition:
        """All zero, as in training; the paper's own code trains another null than it samples with."""
        assert condition.image is not None and condition.vector is not None
        return Condition(vector=torch.zeros_like(condition.vector), image=torch.zeros_like(condition.image))

    def described(self) -> dict[str, Any]:
        """And what it is told."""
        lift = "none" if self.lift is None else type(self.lift).__name__.lower()
        return {**super().described(), "pose": type(self.pose).__name__.lower(), "lift": lift}

    def regressed(self, condition: Condition) -> Float[Tensor, "B C h w"]:
        """The target picture as the lifted features alone tell it."""
        assert self.lift is not None and condition.image is not None
        return self.lift.regressed(condition.image[:, self.picture_channels :]).float()

    def train_condition(self, condition: Condition, u: Float[Tensor, " B"]) -> Condition:
        """One uniform number for each example: pose and lift are dropped below 2 dropout, the picture from
        dropout to 3 dropout (InstructPix2Pix, section 3.2.1)."""
        assert condition.image is not None and condition.vector is not None
        zero = condition.image.new_zeros(())
        no_pose, no_picture = u < 2 * self.dropout, (u >= self.dropout) & (u < 3 * self.dropout)
        picture, lifted = condition.image.split(
            [self.picture_channels, condition.image.shape[1] - self.picture_channels], dim=1
        )
        return Condition(
            vector=without(condition.vector, zero, no_pose),
            image=torch.cat([without(picture, zero, no_picture), without(lifted, zero, no_pose)], 1),
        )
