"""A signed distance field: hash grid and MLPs, added to the distance to a sphere (Wang et al. 2021).

f(x) = |x| - r + MLP(encoding(x)), the MLP zero at first. Negative inside; distances in world units.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.fields.mlp import MLP
from threestudio_like.geometry.base import Implicit
from threestudio_like.ops.isosurface import lattice, marching_tets
from threestudio_like.ops.mesh import large_components
from threestudio_like.ranges import Count, Positive, Share, Whole
from threestudio_like.records import Mesh


class SDF(Implicit):
    """The zero set of a field.

    Args:
        radius: half the side of the box it lives in.
        num_features: what the material reads.
        encoding: of points in [0, 1]^3, for the distance; for the features too if these have none.
        feature_encoding: theirs, or null. With one, what colours learn does not move the surface.
        width, depth: of the heads, hidden units and hidden layers.
        sphere_radius: of the sphere it is at first.
        epsilon: step of the finite differences, world units.
        min_component: `surface` drops parts with fewer faces than this share of the largest.
    """

    def __init__(
        self,
        *,
        radius: Positive,
        num_features: Count,
        encoding: nn.Module,
        feature_encoding: nn.Module | None,
        width: Count,
        depth: Whole,
        sphere_radius: Positive,
        epsilon: Positive,
        min_component: Share,
    ) -> None:
        super().__init__(radius=radius, num_features=num_features)
        if not 0 < sphere_radius < radius:
            raise ValueError(f"sphere_radius: {sphere_radius} is not between 0 and the radius {radius}")
        self.encoding, self.feature_encoding = encoding, feature_encoding
        head = partial(MLP, width=width, depth=depth, activation="relu", bias=False)
        num_inputs: int = encoding.num_outputs  # type: ignore[assignment]
        num_read: int = self.colouring.num_outputs  # type: ignore[assignment]
        self.distance = head(num_inputs=num_inputs, num_outputs=1, zero=True, exact=True)
        self.feature = head(num_inputs=num_read, num_outputs=num_features, zero=False, exact=False)
        self.sphere_radius = sphere_radius
        self.epsilon = epsilon
        self.min_component = min_component

    @property
    def colouring(self) -> nn.Module:
        """The encoding that the features read."""
        return self.encoding if self.feature_encoding is None else self.feature_encoding

    def unit(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """What encodings take; they count points outside the box as on its faces."""
        return (points / self.radius + 1) / 2

    def sdf(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 1"]:
        """|x| - r, and what was learned."""
        return self.sphere(points) + self.distance(self.encoding(self.unit(points)))

    def sphere(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 1"]:
        """Signed distance to the sphere."""
        return torch.linalg.vector_norm(points, dim=-1, keepdim=True) - self.sphere_radius

    def features(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """By another head."""
        return self.feature(self.colouring(self.unit(points)))

    def gradient(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """Forward differences, as in `evaluate`."""
        return self.evaluate(points)[2]

    def evaluate(
        self, points: Float[Tensor, "N 3"]
    ) -> tuple[Float[Tensor, "N 1"], Float[Tensor, "N C"], Float[Tensor, "N 3"]]:
        """(sdf, features, gradient) by four look-ups in the grid of the distance.

        The sphere's gradient is exact; the learned part is differenced towards x, y and z, as the grid's
        own derivative jumps from cell to cell and has no second derivative (Li et al. 2023, section 3.2).
        """
        unit, step = self.unit(points), self.epsilon / (2 * self.radius)
        steps = torch.where(unit + step > 1, -step, step)  # backward at the far faces
        around = unit[:, None].repeat(1, 4, 1)
        around[:, 1:].diagonal(dim1=1, dim2=2).add_(steps)
        encoded = self.encoding(around.flatten(0, 1))
        learned = self.distance(encoded).view(-1, 4)
        difference = (learned[:, 1:] - learned[:, :1]) / (2 * self.radius * steps)
        outward = points / torch.linalg.vector_norm(points, dim=-1, keepdim=True).clamp_min(1e-8)
        sdf = self.sphere(points) + learned[:, :1]
        read = encoded[::4] if self.feature_encoding is None else self.feature_encoding(unit)
        return sdf, self.feature(read), outward + difference

    def surface(self, resolution: int) -> Mesh:
        """By marching tetrahedra over the whole box."""
        grid = lattice(resolution)
        with torch.no_grad():
            vertices = grid.vertices.to(next(self.parameters())) * self.radius
            distances = torch.cat([self.sdf(part) for part in vertices.split(2**18)])
            vertices, faces = marching_tets(vertices, distances[:, 0], grid)
        if len(faces) == 0:
            raise ValueError("the field has no surface: its signed distance has one sign in the whole box")
        return Mesh(*large_components(vertices, faces, self.min_component))
