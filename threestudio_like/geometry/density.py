"""A density field: hash grid and MLPs behind an activation (Mildenhall et al. 2020; Mueller et al. 2022).

sigma(x) = activation(MLP(encoding(x)) + bias(x)) per unit of world length; the bias is there at first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.fields.mlp import MLP
from threestudio_like.geometry.base import Volume
from threestudio_like.ops.isosurface import Lattice, enclosed, lattice, marching_tets
from threestudio_like.ops.mesh import large_components
from threestudio_like.ranges import Count, Positive, Share, Whole
from threestudio_like.records import Mesh

PORE = 1  # cells of a lattice: narrower ways into the fog are closed
CLEAR = 1.0  # beyond this far from the level, before the activation, a place counts as no thicker or thinner
LARGEST = 15.0  # of an exponent: above it the density is opaque in any step, and its gradient is cut off


class Activation(NamedTuple):
    """A positive, increasing function and its inverse."""

    forward: Callable[[Tensor], Tensor]
    inverse: Callable[[float], float]


ACTIVATIONS = {
    "softplus": Activation(F.softplus, lambda density: math.log(math.expm1(density))),
    "exp": Activation(lambda raw: torch.exp(raw.clamp(max=LARGEST)), math.log),
}
Bias = Callable[[Tensor], Tensor]  # points [N 3] to [N 1]


class Cone:
    """offset + scale (1 - |x| / radius): Magic3D's blob (Lin et al. 2023), `offset` alone at `radius`."""

    def __init__(self, *, offset: float, scale: float, radius: Positive) -> None:
        self.offset, self.scale, self.radius = offset, scale, radius

    def __call__(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 1"]:
        """Falls in every direction."""
        height = 1 - torch.linalg.vector_norm(points, dim=-1, keepdim=True) / self.radius
        return self.offset + self.scale * height


class Gaussian:
    """offset + scale exp(-|x|^2 / (2 radius^2)): DreamFusion's blob (Poole et al. 2022, appendix A)."""

    def __init__(self, *, offset: float, scale: float, radius: Positive) -> None:
        self.offset, self.scale, self.radius = offset, scale, radius

    def __call__(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 1"]:
        """Falls in every direction."""
        height = torch.exp(-0.5 * (points / self.radius).square().sum(-1, keepdim=True))
        return self.offset + self.scale * height


class Density(Volume):
    """The fog of a NeRF.

    Args:
        radius: half the side of the box it lives in.
        num_features: what the material reads.
        encoding: of points in [0, 1]^3; shared by both heads.
        width, depth: of the heads, hidden units and hidden layers.
        activation: softplus or exp.
        bias: added before the activation: Cone or Gaussian; a scale of 0 is the same everywhere.
        epsilon: step of the finite differences, world units.
        threshold: density at which `surface` is.
        min_component: `surface` drops parts with fewer faces than this share of the largest.
    """

    def __init__(
        self,
        *,
        radius: Positive,
        num_features: Count,
        encoding: nn.Module,
        width: Count,
        depth: Whole,
        activation: str,
        bias: Bias,
        epsilon: Positive,
        threshold: Positive,
        min_component: Share,
    ) -> None:
        super().__init__(radius=radius, num_features=num_features)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation: no {activation!r}; choose one of {', '.join(ACTIVATIONS)}")
        if threshold <= 0:
            raise ValueError(f"threshold: a density above 0, not {threshold}")
        self.encoding = encoding
        num_inputs: int = encoding.num_outputs  # type: ignore[assignment]
        head = partial(MLP, num_inputs=num_inputs, width=width, depth=depth, activation="relu", bias=False)
        self.thickness = head(num_outputs=1, zero=False, exact=True)
        self.feature = head(num_outputs=num_features, zero=False, exact=False)
        self.activation = ACTIVATIONS[activation]
        self.bias = bias
        self.epsilon = epsilon
        self.level = self.activation.inverse(threshold)
        self.min_component = min_component

    def encoded(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N D"]:
        """The encoding in world units; points outside the box count as on its faces."""
        return self.encoding((points / self.radius + 1) / 2)

    def raw(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 1"]:
        """The density before its activation."""
        return self.thickness(self.encoded(points)) + self.bias(points)

    def density(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 1"]:
        """Per unit of world length."""
        return self.activation.forward(self.raw(points))

    def features(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """From the same encoding, by another head."""
        return self.feature(self.encoded(points))

    def evaluate(
        self, points: Float[Tensor, "N 3"], *, gradients: bool
    ) -> tuple[Float[Tensor, "N 1"], Float[Tensor, "N C"], Float[Tensor, "N 3"] | None]:
        """One look-up in the grid; with gradients four: forward differences of the raw density.

        It has the activated one's direction, and does not vanish where that saturates.
        """
        if not gradients:
            encoded = self.encoded(points)
            raw = self.thickness(encoded) + self.bias(points)
            return self.activation.forward(raw), self.feature(encoded), None
        steps = torch.where(points + self.epsilon > self.radius, -self.epsilon, self.epsilon)
        around = points[:, None].repeat(1, 4, 1)
        around[:, 1:].diagonal(dim1=1, dim2=2).add_(steps)
        around = around.flatten(0, 1)
        encoded = self.encoded(around)
        raw = (self.thickness(encoded) + self.bias(around)).view(-1, 4)
        gradient = (raw[:, 1:] - raw[:, :1]) / steps
        return self.activation.forward(raw[:, :1]), self.feature(encoded[::4]), gradient

    @torch.no_grad()
    def levels(self, resolution: int) -> tuple[Lattice, Float[Tensor, " V"]]:
        """Over the box [-1, 1]^3 times the radius: negative where it is thick, or where nobody can see.

        Fog that reaches the box's faces ends there, so that a surface is closed.
        """
        grid = lattice(resolution)
        points = (grid.vertices.to(next(self.parameters())) * self.radius).split(2**16)
        values = -torch.cat([self.mean(part, self.radius / resolution) for part in points])
        border = (grid.vertices.abs().amax(-1) >= 1).to(values.device)
        values = torch.where(border, values.abs().clamp_min(1e-6), values)
        return grid, torch.where(enclosed(values, grid, PORE), -values.abs().clamp_min(1e-6), values)

    def mean(self, points: Float[Tensor, "N 3"], width: float) -> Float[Tensor, " N"]:
        """How far above the level, bounded, around points: the mean over the corners of cubes of that width.

        A fog is rough inside, where no picture corrects it: without, each lattice sees another surface.
        """
        corners = torch.cartesian_prod(*[points.new_tensor([-0.5, 0.5])] * 3) * width
        around = (points[:, None] + corners).flatten(0, 1)
        return (self.raw(around)[:, 0] - self.level).clamp(-CLEAR, CLEAR).view(-1, 8).mean(-1)

    def surface(self, resolution: int) -> Mesh:
        """Where the density is the threshold, by marching tetrahedra; without cavities."""
        grid, values = self.levels(resolution)
        vertices, faces = marching_tets(grid.vertices.to(values) * self.radius, values, grid)
        if len(faces) == 0:
            raise ValueError("the fog has no surface: its density is nowhere above the threshold")
        return Mesh(*large_components(vertices, faces, self.min_component))
