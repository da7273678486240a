"""NeRF: densities rendered as a volume (Mildenhall et al. 2020, eq. 3; the grid: Mueller et al. 2022).

Rays are cut into intervals of one length; those in empty cells are skipped, and so are those that no light
comes back from: a look at their densities without gradients says which. What is left is evaluated in full.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.geometry.base import Volume
from threestudio_like.ops.camera import rays
from threestudio_like.ops.march import intersect_box
from threestudio_like.ops.occupancy import (
    Packed,
    cells_to_refresh,
    march_occupied,
    occupied_cells,
    random_points,
    refreshed,
)
from threestudio_like.ops.volume import packed_sum, packed_weights_from_density
from threestudio_like.ranges import Cells, Count, NonNegative, Share, Whole
from threestudio_like.records import Camera, Rays, Render, Samples
from threestudio_like.scene import Scene

CHUNK = 2**18  # points whose density is looked up at once


class NeRF(nn.Module):
    """Owns the grid that says where the scene is not empty; it is saved, so that a resumed run goes on alike.

    Args:
        num_steps: intervals on the box's diagonal; their length is the same for all rays.
        resolution: cells a side of the grid.
        threshold: opacity of an interval above which a cell counts as occupied.
        decay: what a cell keeps of its opacity when it is looked at anew.
        refresh_every: steps from one such look to the next.
        warmup: step until which a look is at all cells; then it is at a quarter of them.
        min_weight: intervals with less than this share of a pixel are not evaluated.
        normals: in training too, by four look-ups an interval in place of one; else they are 0 there.
        chunk: rays at a time when no gradient is asked for.
    """

    opacity: Float[Tensor, "R R R"]

    def __init__(
        self,
        *,
        num_steps: Count,
        resolution: Cells,
        threshold: NonNegative,
        decay: Share,
        refresh_every: Count,
        warmup: Whole,
        min_weight: NonNegative,
        normals: bool,
        chunk: Count,
    ) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.threshold = threshold
        self.decay = decay
        self.refresh_every = refresh_every
        self.warmup = warmup
        self.min_weight = min_weight
        self.normals = normals
        self.chunk = chunk
        self.register_buffer("opacity", torch.zeros(resolution, resolution, resolution))

    def forward(self, scene: Scene, camera: Camera, step: int) -> Render:
        """The scene over its background; in training mode intervals are shifted at random, ray by ray."""
        geometry = scene.geometry
        if not isinstance(geometry, Volume):
            raise ValueError(f"renderer nerf: takes a density, not {type(geometry).__name__}")
        if self.training and step % self.refresh_every == 0:
            self.refresh(geometry, step)
        pixels = rays(camera)
        shape = pixels.directions.shape[:-1]
        flat = Rays(pixels.origins.reshape(-1, 3), pixels.directions.reshape(-1, 3))
        if torch.is_grad_enabled():
            sums, samples = self.trace(scene, geometry, flat)
        else:
            parts = zip(flat.origins.split(self.chunk), flat.directions.split(self.chunk), strict=True)
            sums, samples = torch.cat([self.trace(scene, geometry, Rays(*part))[0] for part in parts]), None
        rgb, along, normal, alpha = sums.view(*shape, 8).split([3, 1, 3, 1], dim=-1)
        cosine = -(pixels.directions * camera.c2w[:, None, None, :3, 2]).sum(-1, keepdim=True)
        return Render(
            rgb=rgb + (1 - alpha) * scene.background(pixels.directions),
            alpha=alpha,
            depth=along * cosine / alpha.clamp_min(1e-2),
            normal=F.normalize(normal, dim=-1, eps=1e-6),
            samples=samples,
        )

    @torch.no_grad()
    def refresh(self, geometry: Volume, step: int) -> None:
        """Look at cells anew, each at one random point."""
        resolution, device = len(self.opacity), self.opacity.device
        cells = torch.arange(self.opacity.numel(), device=device)
        if step >= self.warmup:
            cells = cells_to_refresh(occupied_cells(self.opacity, self.threshold), len(cells) // 4)
        points = random_points(cells, geometry.radius, resolution).split(CHUNK)
        density = torch.cat([geometry.density(part)[:, 0] for part in points])
        found = density * self.length(geometry)
        self.opacity.copy_(refreshed(self.opacity, cells, found, self.decay))

    def length(self, geometry: Volume) -> float:
        """Of an interval, world units."""
        return 2 * math.sqrt(3) * geometry.radius / self.num_steps

    def trace(
        self, scene: Scene, geometry: Volume, pixels: Rays
    ) -> tuple[Float[Tensor, "N 8"], Samples | None]:
        """Sums along rays of (rgb, distance, normal, 1) by weight, and what was met."""
        found, count = self.intervals(geometry, pixels), len(pixels.origins)
        directions, middles = pixels.directions[found.ray], found.middle
        points = pixels.origins[found.ray] + middles[:, None] * directions
        differentiated = self.normals or not self.training
        density, features, gradients = geometry.evaluate(points, gradients=differentiated)
        weights = packed_weights_from_density(density[:, 0], found.length, found.ray, count)
        normals = None if gradients is None else -F.normalize(gradients, dim=-1)
        rgb = scene.material(features, normals, directions)
        shown = torch.zeros_like(points) if normals is None else normals
        values = torch.cat([rgb, middles[:, None], shown, torch.ones_like(density)], dim=-1)
        samples = None
        if normals is not None:
            samples = Samples(None, weights, middles, normals, directions, found.ray, points)
        return packed_sum(weights, values, found.ray, count), samples

    @torch.no_grad()
    def intervals(self, geometry: Volume, pixels: Rays) -> Packed:
        """Where the field is worth evaluating."""
        near, far, _ = intersect_box(pixels.origins, pixels.directions, geometry.radius)
        phase = torch.rand_like(near) if self.training else torch.zeros_like(near)
        occupied = occupied_cells(self.opacity, self.threshold)
        length = self.length(geometry)
        found = march_occupied(
            pixels.origins, pixels.directions, near, far, occupied, geometry.radius, length, phase
        )
        points = pixels.origins[found.ray] + found.middle[:, None] * pixels.directions[found.ray]
        density = [geometry.density(part)[:, 0] for part in points.split(CHUNK)]
        weights = packed_weights_from_density(torch.cat(density), found.length, found.ray, len(near))
        kept = weights > self.min_weight
        return Packed(found.ray[kept], found.start[kept], found.end[kept])
