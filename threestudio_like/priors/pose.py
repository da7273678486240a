"""The relative pose of two cameras, as Zero-1-to-3 writes it (Liu et al. 2023, section 3.1).

(dtheta, sin dphi, cos dphi, dr): theta is the polar angle from +z, so a camera that goes down has
dtheta > 0; phi is the azimuth, r the distance. Differences are target minus source.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.ops.camera import spherical
from threestudio_like.ranges import Count
from threestudio_like.records import Camera

NUM_NUMBERS = 5


def relative_pose(source: Camera, target: Camera) -> Float[Tensor, "B 4"]:
    """[dtheta, sin dphi, cos dphi, dr]; one source serves all targets."""
    azimuth_from, elevation_from, distance_from = spherical(source)
    azimuth_to, elevation_to, distance_to = spherical(target)
    turn = azimuth_to - azimuth_from
    return torch.stack(
        [elevation_from - elevation_to, torch.sin(turn), torch.cos(turn), distance_to - distance_from], dim=-1
    )


def polar(camera: Camera) -> Float[Tensor, "B 1"]:
    """The polar angle, in which Stable Zero123 tells the source's elevation."""
    return (0.5 * math.pi - spherical(camera)[1])[:, None]


class Pose(nn.Module):
    """An embedding of the relative pose and of the source's polar angle, which the paper leaves out."""

    def __init__(self, *, hidden: Count, out_channels: Count) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(NUM_NUMBERS, hidden), nn.SiLU(), nn.Linear(hidden, out_channels)
        )

    def forward(
        self, picture: Float[Tensor, "S C H W"], source: Camera, target: Camera
    ) -> Float[Tensor, "B D"]:
        """Of each target, from its source (or from the one source); it does not depend on the picture."""
        pose = relative_pose(source, target)
        return self.layers(torch.cat([pose, polar(source).expand(len(pose), 1)], dim=-1))
