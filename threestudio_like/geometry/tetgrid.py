"""DMTet: signed distances on the vertices of a deformable tetrahedral lattice (Shen et al. 2021).

The lattice fills the box [lower, upper], which a conversion fits to the object; features fill all of it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.fields.mlp import MLP
from threestudio_like.geometry.base import Explicit
from threestudio_like.ops.isosurface import lattice, marching_tets
from threestudio_like.ops.mesh import large_components
from threestudio_like.records import Mesh


class TetGrid(Explicit):
    """The surface where the linearly interpolated distances are zero.

    Args:
        radius: half the side of the box it lives in.
        num_features: what the material reads.
        encoding: of points in [0, 1]^3, for the features.
        width, depth: of the features' MLP, hidden units and hidden layers.
        resolution: cells a side.
        sphere_radius: of the sphere it is at first.
        frozen: only the features are trained.
        min_component: parts with fewer faces than this share of the largest are dropped by `surface`, and
            by `mesh` when frozen.
    """

    lower: Float[Tensor, " C"]
    upper: Float[Tensor, " C"]

    def __init__(
        self,
        *,
        radius: float,
        num_features: int,
        encoding: nn.Module,
        width: int,
        depth: int,
        resolution: int,
        sphere_radius: float,
        frozen: bool,
        min_component: float,
    ) -> None:
        super().__init__(radius=radius, num_features=num_features)
        self.encoding = encoding
        num_inputs: int = encoding.num_outputs  # type: ignore[assignment]
        self.feature = MLP(
            num_inputs=num_inputs,
            num_outputs=num_features,
            width=width,
            depth=depth,
            activation="relu",
            bias=False,
            zero=False,
        )
        self.resolution = resolution
        self.frozen = frozen
        self.min_component = min_component
        self.grid = lattice(resolution)
        self.register_buffer("lower", torch.full((3,), -float(radius)))
        self.register_buffer("upper", torch.full((3,), float(radius)))
        distance = torch.linalg.vector_norm(self.grid.vertices * radius, dim=-1) - sphere_radius
        self.distance = nn.Parameter(distance, requires_grad=not frozen)
        self.deformation = nn.Parameter(torch.zeros_like(self.grid.vertices), requires_grad=not frozen)
        self.kept: tuple[tuple, Mesh] | None = None

    def features(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """From the encoding of the point."""
        return self.feature(self.encoding((points / self.radius + 1) / 2))

    def vertices(self) -> Float[Tensor, "V 3"]:
        """The lattice, each vertex moved by less than half a cell, so that neighbours do not cross."""
        moved = self.grid.vertices.to(self.lower.device) + torch.tanh(self.deformation) / self.resolution
        return self.lower + (self.upper - self.lower) * (moved + 1) / 2

    def mesh(self) -> Mesh:
        """The surface now; the same one again and again when frozen."""
        if not self.frozen:
            return Mesh(*marching_tets(self.vertices(), self.distance, self.grid))
        # loading and converting write in place, which counts versions up
        state = (self.distance, self.deformation, self.lower, self.upper)
        version = tuple((tensor.device, tensor._version) for tensor in state)
        if self.kept is None or self.kept[0] != version:
            self.kept = version, self.cleaned()
        return self.kept[1]

    def cleaned(self) -> Mesh:
        """The surface without gradients and without small parts."""
        with torch.no_grad():
            vertices, faces = marching_tets(self.vertices(), self.distance, self.grid)
        if len(faces) == 0:
            raise ValueError("the tetrahedra have no surface: the signed distances have one sign everywhere")
        return Mesh(*large_components(vertices, faces, self.min_component))

    def surface(self, resolution: int) -> Mesh:
        """At the lattice's own resolution, whatever is asked for."""
        return self.cleaned()

    def crossings(self) -> Float[Tensor, "E 2"]:
        """Signed distances at both ends of the lattice edges that the surface crosses."""
        ends = self.distance[self.grid.edges.to(self.distance.device).long()]
        return ends[(ends[:, 0] < 0) != (ends[:, 1] < 0)]
