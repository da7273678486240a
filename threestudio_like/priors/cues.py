"""Depth and normals of an object from one picture: a small U-Net that answers at once (no diffusion).

Inside, normals are in the camera's frame (OpenGL: x right, y up, z towards the camera) and depth has any
scale and shift (Ranftl et al. 2020). At the door both are the house's: normals in the world's frame, depth
along the viewing axis, around the camera's distance from the origin.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.ops.depth import relative
from threestudio_like.priors.unet import BLOCK, autocast
from threestudio_like.priors.weights import load
from threestudio_like.ranges import Count, Positive, Side
from threestudio_like.records import View

CHANNELS = 4  # a picture over white, and its alpha
ANSWERS = 4  # depth, normal


class Guess(NamedTuple):
    """What the network says of B pictures, in its own terms."""

    depth: Float[Tensor, "B H W 1"]  # greater is further; any scale and shift
    normal: Float[Tensor, "B H W 3"]  # unit, camera's frame


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inner: int, outer: int, groups: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.GroupNorm(groups, inner),
            nn.SiLU(),
            nn.Conv2d(inner, outer, 3, padding=1),
            nn.GroupNorm(groups, outer),
            nn.SiLU(),
            nn.Conv2d(outer, outer, 3, padding=1),
        )
        self.skip = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h w"]:
        """The sum of both."""
        return self.skip(x) + self.path(x)


class Cues(nn.Module):
    """A view to the same view with depth and normals.

    size: of the pictures the network works on, on a grid of 2x2 blocks. widths: list[Count]
    as large each. tail: channels of the whole pixels at the end.
    spread: mean deviation that the answer's depth is given, in units of the object's longest side.
    weights: a name in bundled/ or a file; null for a new one.
    """

    def __init__(
        self,
        *,
        size: Side,
        widths: list[Count],
        tail: Count,
        groups: Count,
        spread: Positive,
        weights: str | None,
    ) -> None:
        super().__init__()
        self.size, self.spread = size, spread
        first, pairs = widths[0], list(zip(widths, widths[1:], strict=False))
        self.stem = nn.Conv2d(CHANNELS * BLOCK**2, first, 3, padding=1)
        self.enter = Residual(first, first, groups)
        self.down = nn.ModuleList(Residual(fine, coarse, groups) for fine, coarse in pairs)
        self.middle = Residual(widths[-1], widths[-1], groups)
        self.up = nn.ModuleList(Residual(fine + coarse, fine, groups) for fine, coarse in pairs)
        self.widen = nn.Conv2d(first, tail * BLOCK**2, 3, padding=1)
        self.tail = nn.Sequential(
            nn.Conv2d(tail + CHANNELS, 2 * tail, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * tail, ANSWERS, 3, padding=1),
        )
        if weights is not None:
            load(self, weights)

    def guess(self, image: Float[Tensor, "B H W 4"]) -> Guess:
        """Of pictures of its own size."""
        x = image.permute(0, 3, 1, 2) * 2 - 1
        with autocast(x.device):
            grid = self.enter(self.stem(F.pixel_unshuffle(x, BLOCK)))
            levels = [grid]
            for down in self.down:
                levels.append(down(F.avg_pool2d(levels[-1], 2)))
            coarse = self.middle(levels[-1])
            for up, fine in zip(reversed(self.up), reversed(levels[:-1]), strict=True):
                coarse = up(torch.cat([fine, F.interpolate(coarse, scale_factor=2.0)], dim=1))
            whole = F.pixel_shuffle(self.widen(coarse), BLOCK)
            answer = self.tail(torch.cat([F.silu(whole), x.to(whole.dtype)], dim=1))
        depth, normal = answer.float().permute(0, 2, 3, 1).split([1, 3], dim=-1)
        return Guess(depth, F.normalize(normal, dim=-1))

    @torch.no_grad()
    def forward(self, view: View) -> View:
        """The view with depth and normals, in the house's terms; 0 where the picture is empty."""
        small = self.shrunk(view.rgba)
        guess = self.guess(small)
        depth = placed(guess.depth, small[..., 3:], view, self.spread)
        return view._replace(depth=depth, normal=turned(guess.normal, view))

    def shrunk(self, image: Float[Tensor, "B H W 4"]) -> Float[Tensor, "B h w 4"]:
        """The picture at the network's own size."""
        x = image.permute(0, 3, 1, 2)
        if x.shape[2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        return x.permute(0, 2, 3, 1)


def placed(
    depth: Float[Tensor, "B h w 1"], mask: Float[Tensor, "B h w 1"], view: View, spread: float
) -> Float[Tensor, "B H W 1"]:
    """Depth of any scale and shift as the view's: around the camera's distance; 0 where it is empty."""
    distance = torch.linalg.vector_norm(view.camera.c2w[:, :3, 3], dim=-1)[:, None, None, None]
    return (distance + spread * _enlarged(relative(depth, mask), view)) * (view.alpha > 0).to(depth)


def turned(normal: Float[Tensor, "B h w 3"], view: View) -> Float[Tensor, "B H W 3"]:
    """Normals of the camera's frame as the view's, in the world's: unit; 0 where it is empty."""
    unit = F.normalize(_enlarged(normal, view), dim=-1)
    world = torch.einsum("bij,bhwj->bhwi", view.camera.c2w[:, :3, :3], unit)
    return world * (view.alpha > 0).to(world)


def _enlarged(x: Float[Tensor, "B h w C"], view: View) -> Float[Tensor, "B H W C"]:
    height, width = view.rgb.shape[1:3]
    if x.shape[1:3] == (height, width):
        return x
    planes = F.interpolate(x.permute(0, 3, 1, 2), (height, width), mode="bilinear", align_corners=False)
    return planes.permute(0, 2, 3, 1)
