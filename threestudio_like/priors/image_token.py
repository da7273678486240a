"""Zero-1-to-3's one token (Liu et al. 2023, section 3.2): an embedding of the picture and the relative pose.

token = W [embedding, dtheta, sin dphi, cos dphi, dr] + b. W begins as the identity on the embedding and at
random on the pose, b as 0 (official code). The paper embeds by CLIP; here a small network learns to.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.priors.pose import relative_pose
from threestudio_like.priors.unet import BLOCK
from threestudio_like.ranges import Count
from threestudio_like.records import Camera

NUM_POSE = 4


class Token(nn.Module):
    """Takes the place of `Pose`; `project` is the layer that the paper gives a learning rate of its own.

    width: channels of the first convolution; the next two have 2 and 4 times as many.
    """

    def __init__(self, *, channels: Count, width: Count, groups: Count, out_channels: Count) -> None:
        super().__init__()
        widths = [channels * BLOCK**2, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for inside, outside in zip(widths, widths[1:], strict=False):
            conv = nn.Conv2d(inside, outside, 3, stride=2, padding=1)
            layers += [conv, nn.GroupNorm(groups, outside), nn.SiLU()]
        self.embed = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.widen = nn.Linear(4 * width, out_channels)
        self.project = nn.Linear(out_channels + NUM_POSE, out_channels)
        with torch.no_grad():
            self.project.weight[:, :out_channels] = torch.eye(out_channels)
            self.project.bias.zero_()

    def forward(
        self, picture: Float[Tensor, "S C H W"], source: Camera, target: Camera
    ) -> Float[Tensor, "B D"]:
        """Of each target, from its source (or from the one source)."""
        pose = relative_pose(source, target)
        embedding = self.widen(self.embed(F.pixel_unshuffle(picture, BLOCK))).expand(len(pose), -1)
        return self.project(torch.cat([embedding, pose.to(embedding.dtype)], dim=-1))
