"""Gaussians, projected and blended, forward and backward; no peer that pip installs runs on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from timing import Contest, gradients, rows, table
from torch import Tensor

from threestudio_like.ops.camera import orbit
from threestudio_like.ops.splat import blend, project
from threestudio_like.records import Camera

COUNT = 20_000
SIDES = (256, 512)


def camera(side: int) -> Camera:
    """One that sees the unit ball whole."""
    angles = [torch.tensor([value]) for value in (0.4, 0.3, 2.7, math.radians(49.134))]
    names = ("azimuth", "elevation", "distance", "fov_y")
    return orbit(**dict(zip(names, angles, strict=True)), height=side, width=side)


def contest(count: int, side: int) -> Contest:
    """A ball full of Gaussians, each as large as they are apart."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    inputs = [
        directions * torch.rand(count, 1, generator=generator) ** (1 / 3),
        (1 + torch.rand(count, 3, generator=generator)) * 0.5 * count ** (-1 / 3),
        torch.randn(count, 4, generator=generator),
        0.1 + 0.8 * torch.rand(count, generator=generator),
        torch.rand(1, count, 3, generator=generator),
    ]
    means, scales, quaternions, opacities, colors = inputs = [value.requires_grad_() for value in inputs]
    slope, seen = torch.randn(1, side, side, 3, generator=generator), camera(side)

    def ours() -> Tensor:
        return blend(project(means, scales, quaternions, seen, 0.1), opacities, colors, side, side)[0]

    def reference() -> Tensor:
        prints = project.reference(means, scales, quaternions, seen, 0.1)
        return blend.reference(prints, opacities, colors, side, side)[0]

    sides: dict[str, Callable[[], tuple[Tensor, ...]]] = {
        "ours": lambda: gradients(ours(), slope, inputs),
    }
    if side <= min(SIDES):  # seconds, and more of them for more pixels
        sides["ours, torch"] = lambda: gradients(reference(), slope, inputs)
    return Contest(f"{count} Gaussians, {side} px", sides)


def contests() -> Iterator[Contest]:
    """Two sizes of picture."""
    for side in SIDES:
        yield contest(COUNT, side)


if __name__ == "__main__":
    print(table(rows(contests())))
