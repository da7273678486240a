"""NeuS: signed distances rendered as a volume (Wang et al. 2021, eqs. 10-13).

Three passes, cheap to dear: a lattice of distances says where each ray may meet the surface; pieces are drawn
there by inverse CDF, and those that cannot matter dropped; the field itself is evaluated at the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from threestudio_like.geometry.base import Implicit
from threestudio_like.ops.camera import rays
from threestudio_like.ops.march import importance, intersect_box, stratified
from threestudio_like.ops.volume import neus_alpha, weights_from_alpha
from threestudio_like.ranges import Cells, Count, NonNegative, Positive, Whole
from threestudio_like.records import Camera, Rays, Render, Samples
from threestudio_like.scene import Scene


class Intervals(NamedTuple):
    """Pieces of rays on which the field is evaluated: R rays that may meet something, E - 1 pieces each."""

    ray: Int[Tensor, " R"]  # which one it is
    edges: Float[Tensor, "R E"]
    kept: Bool[Tensor, "R E-1"]  # pieces that may matter


class NeuS(nn.Module):
    """Owns the sharpness of the surface, which is learned.

    Args:
        variance: v at first; the density of a surface has the inverse deviation exp(10 v).
        num_coarse: pieces of a ray looked up in the lattice.
        num_fine: pieces of a ray drawn for the field.
        lattice: vertices a side of the lattice of distances, made anew each time.
        min_weight: pieces with less than this share of a pixel, by the lattice, are dropped.
        cos_anneal_end: step from which surfaces seen from behind are invisible (0: always).
        chunk: rays at a time when no gradient is asked for.
    """

    def __init__(
        self,
        *,
        variance: Positive,
        num_coarse: Count,
        num_fine: Whole,
        lattice: Cells,
        min_weight: NonNegative,
        cos_anneal_end: Whole,
        chunk: Count,
    ) -> None:
        super().__init__()
        self.variance = nn.Parameter(torch.tensor(float(variance)))
        self.num_coarse = num_coarse
        self.num_fine = num_fine
        self.lattice = lattice
        self.min_weight = min_weight
        self.cos_anneal_end = cos_anneal_end
        self.chunk = chunk

    @property
    def inv_std(self) -> Float[Tensor, ""]:
        """s, the inverse standard deviation of the logistic density around the surface."""
        return torch.exp(10 * self.variance).clamp(1e-6, 1e6)

    def forward(self, scene: Scene, camera: Camera, step: int) -> Render:
        """The scene over its background; pieces are jittered in training mode, from torch's generator."""
        geometry = scene.geometry
        if not isinstance(geometry, Implicit):
            raise ValueError(f"renderer neus: takes a signed distance field, not {type(geometry).__name__}")
        pixels = rays(camera)
        shape = pixels.directions.shape[:-1]
        flat = Rays(pixels.origins.reshape(-1, 3), pixels.directions.reshape(-1, 3))
        with torch.no_grad():
            distances = self.distances(geometry, flat.origins)
        if torch.is_grad_enabled():
            sums, samples = self.trace(scene, flat, distances, step)
        else:
            parts = zip(flat.origins.split(self.chunk), flat.directions.split(self.chunk), strict=True)
            traced = [self.trace(scene, Rays(*part), distances, step)[0] for part in parts]
            sums, samples = torch.cat(traced), None
        rgb, along, normal, alpha = sums.view(*shape, 8).split([3, 1, 3, 1], dim=-1)
        cosine = -(pixels.directions * camera.c2w[:, None, None, :3, 2]).sum(-1, keepdim=True)
        return Render(
            rgb=rgb + (1 - alpha) * scene.background(pixels.directions),
            alpha=alpha,
            depth=along * cosine / alpha.clamp_min(1e-2),
            normal=F.normalize(normal, dim=-1, eps=1e-6),
            samples=samples,
        )

    def distances(self, geometry: Implicit, like: Tensor) -> Float[Tensor, "1 1 D D D"]:
        """The field on a lattice over its box, z slowest, as `grid_sample` wants it."""
        side = torch.linspace(-geometry.radius, geometry.radius, self.lattice).to(like)
        z, y, x = torch.meshgrid(side, side, side, indexing="ij")
        points = torch.stack([x, y, z], dim=-1).reshape(-1, 3)
        values = torch.cat([geometry.sdf(part) for part in points.split(2**18)])
        return values.view(1, 1, *z.shape)

    def trace(
        self, scene: Scene, pixels: Rays, distances: Float[Tensor, "1 1 D D D"], step: int
    ) -> tuple[Float[Tensor, "N 8"], Samples]:
        """Sums along rays of (rgb, distance, normal, 1) by weight, and what was met."""
        geometry: Implicit = scene.geometry  # type: ignore[assignment]
        with torch.no_grad():
            found = self.intervals(pixels, distances, geometry.radius)
        row, column = torch.nonzero(found.kept, as_tuple=True)
        ray = found.ray[row]
        middles = ((found.edges[:, 1:] + found.edges[:, :-1]) / 2)[row, column]
        directions = pixels.directions[ray]
        points = pixels.origins[ray] + middles[:, None] * directions
        sdf, features, gradients = geometry.evaluate(points)
        deltas = found.edges.diff(dim=-1)[row, column]
        cosine = self.facing((gradients * directions).sum(-1), step)
        alpha = neus_alpha(sdf[:, 0], cosine, deltas, self.inv_std)
        dense = torch.zeros_like(found.edges[:, 1:]).index_put((row, column), alpha)
        weights = weights_from_alpha(dense)[row, column]
        normals = F.normalize(gradients, dim=-1)
        rgb = scene.material(features, normals, directions)
        values = torch.cat([rgb, middles[:, None], normals, torch.ones_like(sdf)], dim=-1)
        sums = values.new_zeros(len(pixels.origins), 8).index_add(0, ray, weights[:, None] * values)
        return sums, Samples(sdf[:, 0], weights, middles, gradients, directions, ray, points)

    def facing(self, cosine: Float[Tensor, " S"], step: int) -> Float[Tensor, " S"]:
        """Cosine of gradient and ray, at most 0: what recedes does not count, softly so at first.

        The gradient is not normalised: times the length of a piece it is the field's change along it.
        """
        annealed = min(1.0, step / self.cos_anneal_end) if self.cos_anneal_end > 0 else 1.0
        return -(F.relu(0.5 - 0.5 * cosine) * (1 - annealed) + F.relu(-cosine) * annealed)

    def intervals(self, pixels: Rays, distances: Float[Tensor, "1 1 D D D"], radius: float) -> Intervals:
        """Where the field is worth evaluating."""
        near, far, hit = intersect_box(pixels.origins, pixels.directions, radius)
        ray = torch.nonzero(hit)[:, 0]
        edges = stratified(near[ray], far[ray], self.num_coarse + 1, jitter=self.training)
        weights = self.weights(pixels, ray, edges, distances, radius)
        seen = (weights > self.min_weight).any(-1)
        ray, edges, weights = ray[seen], edges[seen], weights[seen]
        edges = self.resampled(edges, weights)
        kept = self.weights(pixels, ray, edges, distances, radius) > self.min_weight
        return Intervals(ray, edges, kept)

    def resampled(self, edges: Float[Tensor, "R E"], weights: Float[Tensor, "R _"]) -> Float[Tensor, "R K"]:
        """Edges of `num_fine` pieces of about equal weight, from the first to the last that has some."""
        some = weights > self.min_weight
        first = torch.where(some, edges[:, :-1], torch.inf).amin(-1, keepdim=True)
        last = torch.where(some, edges[:, 1:], 0.0).amax(-1, keepdim=True)
        floor = 0.1 * weights.mean(-1, keepdim=True)  # nothing in between goes unseen
        density = torch.where((edges[:, :-1] >= first) & (edges[:, 1:] <= last), weights + floor, 0.0)
        inner = importance(edges, density, self.num_fine - 1, jitter=self.training)
        return torch.cat([first, inner, last], dim=-1)

    def weights(
        self,
        pixels: Rays,
        ray: Int[Tensor, " R"],
        edges: Float[Tensor, "R E"],
        distances: Float[Tensor, "1 1 D D D"],
        radius: float,
    ) -> Float[Tensor, "R E-1"]:
        """Estimated weights of the pieces between `edges`, from the lattice at both ends."""
        points = pixels.origins[ray, None] + edges[..., None] * pixels.directions[ray, None]
        sdf = F.grid_sample(
            distances, (points / radius)[None, None], align_corners=True, padding_mode="border"
        )[0, 0, 0]
        sharpness = self.inv_std.clamp(max=2 * self.lattice / radius)  # the lattice knows no better
        inside = torch.sigmoid(sdf * sharpness)
        alpha = ((inside[:, :-1] - inside[:, 1:] + 1e-5) / (inside[:, :-1] + 1e-5)).clamp(0, 1)
        return weights_from_alpha(alpha)
