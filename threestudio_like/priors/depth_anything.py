"""Depth of one picture by Depth Anything as published (Yang et al. 2024), V1 or V2, in the role of `cues`.

Its relative networks tell disparity up to scale and shift; over an object that is small beside its distance,
depth is nearly linear in it, and falls. Its metric ones tell depth. Normals are not told: they would be those
of a guessed scale.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import DepthAnythingForDepthEstimation

from threestudio_like.priors.cues import placed
from threestudio_like.priors.published import Precision, folder_with, part, settings
from threestudio_like.ranges import Positive, Side
from threestudio_like.records import View

MEAN = (0.485, 0.456, 0.406)  # of ImageNet, as its backbone was trained with
STD = (0.229, 0.224, 0.225)
KIND = "depth_anything"


class DepthAnything(nn.Module):
    """A view to the same view with depth.

    weights: a name of the hub, or a folder, with config.json and the weights beside it.
    size: pixels a side of the pictures that it looks at, a multiple of its patches' 14.
    spread: mean deviation that the answer's depth is given, in units of the object's longest side.
    """

    published = staticmethod(partial(folder_with, network=""))  # a run looks for weights before it begins

    def __init__(self, *, weights: str, size: Side, spread: Positive, precision: Precision) -> None:
        super().__init__()
        folder = folder_with(weights, "")
        check_kind(folder)
        self.network = part(DepthAnythingForDepthEstimation, folder, "", precision)
        patch = self.network.config.patch_size
        if size % patch:
            raise ValueError(f"size: expected a multiple of {patch}, the network's patches, got {size}")
        self.size, self.spread = size, spread
        self.sign = 1.0 if self.network.config.depth_estimation_type == "metric" else -1.0

    @torch.no_grad()
    def forward(self, view: View) -> View:
        """The view with depth, along the viewing axis around the camera's distance; 0 where it is empty."""
        x = view.rgba.permute(0, 3, 1, 2)
        x = F.interpolate(x, (self.size, self.size), mode="bicubic", antialias=True, align_corners=False)
        mean, std = (x.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        pixels = (x[:, :3].clamp(0, 1) - mean) / std
        said = self.network(pixel_values=pixels.to(self.network.dtype)).predicted_depth.float()
        depth: Float[Tensor, "B h w 1"] = self.sign * said[..., None]
        return view._replace(depth=placed(depth, x[:, 3:].permute(0, 2, 3, 1).clamp(0, 1), view, self.spread))


def check_kind(folder: Path) -> None:
    """That the folder says it is one; another's weights would be read into nothing."""
    told = settings(folder / "config.json")
    kind = told.get("model_type") if isinstance(told, dict) else None
    if kind != KIND:
        raise ValueError(f"weights: {folder} is of the kind {kind!r}, not {KIND!r}")
