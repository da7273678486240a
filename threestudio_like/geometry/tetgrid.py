"""DMTet: signed distances on the vertices of a deformable tetrahedral lattice (Shen et al. 2021).

The lattice fills the box [lower, upper], which a conversion fits to the object; features fill all of it.
Tetrahedra that the surface crosses are subdivided when it is handed over, or while it is trained
(geometry/subdivide.py); a subdivided lattice is part of what is saved, so a stage can be resumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from threestudio_like.fields.mlp import MLP
from threestudio_like.geometry.base import Explicit
from threestudio_like.ops.barycentric import interpolate
from threestudio_like.ops.isosurface import Lattice, lattice, marching_tets, numbered
from threestudio_like.ops.mesh import large_components
from threestudio_like.ops.subdivision import crossed, subdivide, with_middles
from threestudio_like.ranges import Cells, Count, Positive, Share, Whole
from threestudio_like.records import Mesh


class TetGrid(Explicit):
    """The surface where the linearly interpolated distances are zero.

    Args:
        radius: half the side of the box it lives in.
        num_features: what the material reads.
        encoding: of points in [0, 1]^3, for the features.
        width, depth: of the features' MLP, hidden units and hidden layers.
        resolution: cells a side.
        subdivisions: how many times the tetrahedra on the surface are cut in eight at first, if not more.
        sphere_radius: of the sphere it is at first.
        frozen: only the features are trained.
        min_component: parts with fewer faces than this share of the largest are dropped by `surface`, and
            by `mesh` when frozen.
    """

    lower: Float[Tensor, " C"]
    upper: Float[Tensor, " C"]
    places: Float[Tensor, "V 3"]  # of the vertices in [-1, 1]^3, before deformation
    reach: Float[Tensor, "V 1"]  # by which they may move there
    tets: Int[Tensor, "K 4"]
    edges: Int[Tensor, "E 2"]
    tet_edges: Int[Tensor, "K 6"]
    distance: nn.Parameter
    deformation: nn.Parameter

    def __init__(
        self,
        *,
        radius: Positive,
        num_features: Count,
        encoding: nn.Module,
        width: Count,
        depth: Whole,
        resolution: Cells,
        subdivisions: Whole,
        sphere_radius: Positive,
        frozen: bool,
        min_component: Share,
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
            exact=False,
        )
        self.resolution = resolution
        self.subdivisions = subdivisions
        self.frozen = frozen
        self.min_component = min_component
        self.register_buffer("lower", torch.full((3,), -float(radius)))
        self.register_buffer("upper", torch.full((3,), float(radius)))
        self.register_load_state_dict_pre_hook(_adopt_saved)
        self.sample(lambda points: torch.linalg.vector_norm(points, dim=-1) - sphere_radius)

    def adopt(
        self,
        grid: Lattice,
        reach: Float[Tensor, "V 1"],
        distance: Float[Tensor, " V"],
        deformation: Float[Tensor, "V 3"],
    ) -> None:
        """Live on this lattice from now on; a subdivided one is part of what is saved."""
        self.level = round(-math.log2(self.resolution * float(reach.min())))  # how often it has been cut
        persistent = max(self.level, self.subdivisions) > 0
        for name, tensor in {"places": grid.vertices, "tets": grid.tets, "reach": reach}.items():
            self.register_buffer(name, tensor.to(self.lower.device), persistent=persistent)
        for name, tensor in {"edges": grid.edges, "tet_edges": grid.tet_edges}.items():
            self.register_buffer(name, tensor.to(self.lower.device), persistent=False)
        for name, tensor in {"distance": distance, "deformation": deformation}.items():
            values = tensor.detach().to(self.lower.device, copy=True)
            setattr(self, name, nn.Parameter(values, requires_grad=not self.frozen))
        self.kept: tuple[tuple, Mesh] | None = None

    def grid(self) -> Lattice:
        """The tetrahedra, before deformation."""
        return Lattice(self.places, self.tets, self.edges, self.tet_edges)

    @torch.no_grad()
    def sample(self, distances: Callable[[Float[Tensor, "N 3"]], Float[Tensor, " N"]]) -> None:
        """Begin with the undeformed lattice and the distances at its vertices, subdivided ones too."""
        plain = lattice(self.resolution)
        zeros = torch.zeros_like(plain.vertices)
        self.adopt(plain, zeros[:, :1] + 1 / self.resolution, zeros[:, 0], zeros)
        known = 0
        for level in range(self.subdivisions + 1):
            if level:
                self.subdivide()
            self.distance[known:] = distances(self.vertices()[known:])
            known = len(self.distance)

    @torch.no_grad()
    def subdivide(self) -> Int[Tensor, "M 2"]:
        """Cut the tetrahedra on the surface in eight; it stays where it is (distances at middles are means).

        Returns both ends of each halved edge, whose middles come after the vertices that were there. Those
        stay where deformation has brought them, and may move from there: at halved edges half as far.
        """
        grid, parents = subdivide(self.grid(), crossed(self.distance, self.grid()))
        places = with_middles(self.places + torch.tanh(self.deformation) * self.reach, parents)
        reach = with_middles(self.reach, parents)
        finer = torch.cat([parents.unique(), torch.arange(len(self.reach), len(reach), device=reach.device)])
        reach[finer] /= 2
        distance = with_middles(self.distance, parents)
        self.adopt(grid._replace(vertices=places), reach, distance, torch.zeros_like(places))
        return parents

    def features(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """From the encoding of the point."""
        return self.feature(self.encoding((points / self.radius + 1) / 2))

    def vertices(self) -> Float[Tensor, "V 3"]:
        """The lattice, each vertex moved by less than half a cell, so that neighbours do not cross."""
        moved = self.places + torch.tanh(self.deformation) * self.reach
        return self.lower + (self.upper - self.lower) * (moved + 1) / 2

    def sdf(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 1"]:
        """Signed distance: linear in each tetrahedron, infinite outside the lattice.

        Seconds for a large lattice, as the points' tetrahedra are looked for among all.
        """
        return interpolate(points, self.distance[:, None], self.vertices(), self.tets, outside=torch.inf)

    def mesh(self) -> Mesh:
        """The surface now; the same one again and again when frozen."""
        if not self.frozen:
            return Mesh(*marching_tets(self.vertices(), self.distance, self.grid()))
        # loading and converting write in place, which counts versions up
        state = (self.distance, self.deformation, self.lower, self.upper)
        version = tuple((tensor.device, tensor._version) for tensor in state)
        if self.kept is None or self.kept[0] != version:
            self.kept = version, self.cleaned()
        return self.kept[1]

    def cleaned(self) -> Mesh:
        """The surface without gradients and without small parts."""
        with torch.no_grad():
            vertices, faces = marching_tets(self.vertices(), self.distance, self.grid())
        if len(faces) == 0:
            raise ValueError("the tetrahedra have no surface: the signed distances have one sign everywhere")
        return Mesh(*large_components(vertices, faces, self.min_component))

    def surface(self, resolution: int) -> Mesh:
        """At the lattice's own resolution, whatever is asked for."""
        return self.cleaned()

    def crossings(self) -> Float[Tensor, "E 2"]:
        """Signed distances at both ends of the lattice edges that the surface crosses."""
        inside = (self.distance.detach() < 0).to(torch.uint8)
        # signs alone, and not by [ ]: five times faster
        ends = inside.index_select(0, self.edges.flatten()).view(-1, 2)
        return self.distance[self.edges[ends[:, 0] != ends[:, 1]].long()]


def _adopt_saved(grid: TetGrid, state: Mapping[str, Any], prefix: str, *_: Any) -> None:
    """Before a state is loaded: the subdivided lattice is the saved one, whatever this one was."""
    names = [prefix + name for name in ("places", "tets", "reach", "distance", "deformation")]
    if all(name in state for name in names):
        places, tets, *others = (state[name] for name in names)
        grid.adopt(numbered(places, tets), *others)
