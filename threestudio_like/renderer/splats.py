"""Gaussians by splatting (Kerbl et al. 2023): projected, sorted by depth, blended from near to far.

Depth is the mean of the Gaussians' depths by their weights; normals are those of the surface that the depth
makes, since a Gaussian has none.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from threestudio_like.geometry.base import Cloud
from threestudio_like.ops.camera import rays
from threestudio_like.ops.splat import blend, project
from threestudio_like.ranges import Count, Positive
from threestudio_like.records import Camera, Rays, Render
from threestudio_like.scene import Scene


class Splats(nn.Module):
    """For clouds of Gaussians; has nothing to learn. The gradient of `footprints.centers` is kept.

    Args:
        near: what is not further from the camera, along its axis, is not shown.
        degree_every: steps until colours may depend on the direction by one more degree; 0: they do at once.
    """

    def __init__(self, *, near: Positive, degree_every: Count) -> None:
        super().__init__()
        self.near = near
        self.degree_every = degree_every

    def forward(self, scene: Scene, camera: Camera, step: int) -> Render:
        """The scene over its background."""
        geometry = scene.geometry
        if not isinstance(geometry, Cloud):
            raise ValueError(f"renderer splats: takes a cloud of Gaussians, not {type(geometry).__name__}")
        cloud = geometry.ellipsoids()
        prints = project(cloud.means, cloud.scales, cloud.quaternions, camera, self.near)
        if prints.centers.requires_grad:
            prints.centers.retain_grad()
        directions = F.normalize(cloud.means - camera.c2w[:, None, :3, 3], dim=-1)
        features = geometry.seen(directions, self.degree(step))
        colors = scene.material(features.flatten(0, 1), None, directions.flatten(0, 1))
        values = torch.cat([colors.view_as(directions), prints.depths[..., None]], dim=-1)
        sums, alpha = blend(prints, cloud.opacities, values, camera.height, camera.width)
        rgb, along = sums.split([3, 1], dim=-1)
        depth = along / alpha.clamp_min(1e-8)
        pixels = rays(camera)
        return Render(
            rgb=rgb + (1 - alpha) * scene.background(pixels.directions),
            alpha=alpha,
            depth=depth,
            normal=normals(pixels, camera, depth, alpha),
            footprints=prints,
        )

    def degree(self, step: int) -> int:
        """Up to which the harmonics count."""
        return 3 if self.degree_every == 0 else step // self.degree_every


def normals(
    pixels: Rays, camera: Camera, depth: Float[Tensor, "B H W 1"], alpha: Float[Tensor, "B H W 1"]
) -> Float[Tensor, "B H W 3"]:
    """Of the surface at `depth`, from differences between neighbours; 0 where alpha is below one half."""
    cosine = -(pixels.directions * camera.c2w[:, None, None, :3, 2]).sum(-1, keepdim=True)
    points = pixels.origins + pixels.directions * (depth / cosine)
    covered = alpha >= 0.5
    across, down = jumps(points, covered, 2), jumps(points, covered, 1)
    return F.normalize(torch.linalg.cross(down, across), dim=-1) * covered


def jumps(
    points: Float[Tensor, "B H W 3"], covered: Bool[Tensor, "B H W 1"], axis: int
) -> Float[Tensor, "B H W 3"]:
    """From the neighbour before and to the one behind, added; 0 where that is not covered."""
    count = points.shape[axis] - 1
    both = covered.narrow(axis, 0, count) & covered.narrow(axis, 1, count)
    jump = points.diff(dim=axis) * both
    none = torch.zeros_like(points.narrow(axis, 0, 1))
    return torch.cat([none, jump], dim=axis) + torch.cat([jump, none], dim=axis)
