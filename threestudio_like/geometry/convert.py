"""Stages hand over: one geometry takes the surface and the features of another.

What it keeps: the silhouette from every side (intersection over union above 0.97, tested), and the features.
Gaussians on another geometry's surface are as faint and round as all are at first: they are to be trained.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.geometry.base import Geometry
from threestudio_like.geometry.density import Density
from threestudio_like.geometry.gaussians import Gaussians
from threestudio_like.geometry.sdf import SDF
from threestudio_like.geometry.tetgrid import TetGrid
from threestudio_like.ops.mesh import spread, vertex_normals

SURFACE = 64  # cells a side of a surface that Gaussians are put on, or that is taken from a fog
POOL = 2**16  # points that a field is trained on


def begin(target: Geometry, source: Geometry) -> None:
    """Make `target` hold the surface and features of `source`, in place."""
    if target.num_features != source.num_features:
        raise ValueError(
            f"cannot convert {source.num_features} features to {target.num_features}: make num_features equal"
        )
    for (target_type, source_type), convert in CONVERSIONS.items():
        if isinstance(target, target_type) and isinstance(source, source_type):
            with torch.no_grad():
                convert(target, source)
            return
    raise ValueError(f"no conversion from {type(source).__name__} to {type(target).__name__}")


def sdf_to_sdf(target: SDF, source: SDF) -> None:
    """A copy; both must be built alike."""
    points = source.surface(32).vertices
    if not copied(target, source) or not torch.allclose(target.sdf(points), source.sdf(points), atol=1e-5):
        raise ValueError(
            "cannot convert an SDF to one built otherwise: radius, sphere_radius, encoding or heads differ"
        )


def sdf_to_tetgrid(target: TetGrid, source: SDF) -> None:
    """Distances on a lattice that fits the object."""
    vertices = source.surface(target.resolution).vertices
    fit_box(target, vertices)
    target.sample(lambda points: torch.cat([normalized_distance(source, p) for p in points.split(2**16)]))
    features_to_features(target, source, vertices)


def normalized_distance(source: SDF, points: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
    """f / |grad f|: the distance to the surface to first order, whatever the field's slope.

    The slope is bounded: far from the surface, where it may vanish, only the sign is needed.
    """
    slope = torch.linalg.vector_norm(source.gradient(points), dim=-1)
    return source.sdf(points)[:, 0] / slope.clamp(0.25, 4.0)


def density_to_sdf(target: SDF, source: Density) -> None:
    """Trained on the signed distance to the fog's surface and on its features."""
    fit_sdf(target, signed_distances(source), source.surface(SURFACE).vertices, source.features)


def fit_sdf(
    target: SDF,
    distances: Callable[[Tensor], Tensor],
    surface: Float[Tensor, "V 3"],
    features: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Train the field on signed distances (and features) near points of the surface and all around."""
    generator = torch.Generator().manual_seed(0)
    near = torch.randint(len(surface), (POOL // 2,), generator=generator)
    reach = torch.tensor([0.01, 0.05]).repeat(POOL // 4)[:, None] * target.radius
    noise = reach * torch.randn(POOL // 2, 3, generator=generator)
    anywhere = (2 * torch.rand(POOL // 2, 3, generator=generator) - 1) * target.radius
    points = torch.cat([surface[near] + noise.to(surface), anywhere.to(surface)])
    wanted, colours = distances(points)[:, None], None if features is None else features(points)
    # of zeros, the first step makes all weights of one sign, and what wants the other stays a sphere
    last = [module for module in target.distance.modules() if isinstance(module, torch.nn.Linear)][-1]
    torch.nn.init.normal_(last.weight, std=0.1, generator=generator)
    optimizer = torch.optim.Adam(target.parameters(), lr=0.01, betas=(0.9, 0.99))
    rounds = 300
    for step in range(rounds):
        optimizer.param_groups[0]["lr"] = 0.01 * 0.03 ** (step / rounds)
        pick = torch.randint(POOL, (4096,), generator=generator)
        with torch.enable_grad():
            loss = F.l1_loss(target.sdf(points[pick]), wanted[pick])
            if colours is not None:
                loss = loss + 0.1 * F.mse_loss(target.features(points[pick]), colours[pick])
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()


def density_to_density(target: Density, source: Density) -> None:
    """A copy; both must be built alike."""
    points = target.radius * (2 * torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)) - 1)
    points = points.to(next(source.parameters()))
    if not copied(target, source) or not torch.allclose(target.raw(points), source.raw(points), atol=1e-4):
        raise ValueError(
            "cannot convert a fog to one built otherwise: radius, bias, encoding or heads differ"
        )


def density_to_tetgrid(target: TetGrid, source: Density) -> None:
    """Distances to the fog's surface on a lattice that fits the object."""
    fit_box(target, source.surface(SURFACE).vertices)
    target.sample(signed_distances(source))
    features_to_features(target, source, source.surface(SURFACE).vertices)


def signed_distances(source: Density) -> Callable[[Float[Tensor, "N 3"]], Float[Tensor, " N"]]:
    """To the fog's surface; cavities are inside, small parts that the surface leaves out are not."""
    mesh = source.surface(SURFACE)
    vertices, normals = mesh.vertices, vertex_normals(mesh.vertices, mesh.faces)
    spacing = 2 * source.radius / SURFACE

    def distances(points: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
        found = [nearest(part, vertices) for part in points.split(2**10)]
        away, which = (torch.cat(parts) for parts in zip(*found, strict=True))
        height = ((points - vertices[which]) * normals[which]).sum(-1)
        thick = torch.cat([source.raw(part)[:, 0] > source.level for part in points.split(2**16)])
        inside = torch.where(away < spacing, thick, height < 0)
        size = torch.where(away < 2 * spacing, height.abs(), away)
        return torch.where(inside, -size, size)

    return distances


def nearest(
    points: Float[Tensor, "N 3"], vertices: Float[Tensor, "V 3"]
) -> tuple[Float[Tensor, " N"], Int[Tensor, " N"]]:
    """(distance, index) of each point's nearest vertex."""
    away, which = torch.cdist(points, vertices).min(dim=1)
    return away, which


def fit_box(target: TetGrid, vertices: Float[Tensor, "V 3"]) -> None:
    """The lattice around the object, a tenth larger on each side."""
    margin = 0.1 * (vertices.amax(0) - vertices.amin(0))
    target.lower.copy_((vertices.amin(0) - margin).clamp(min=-target.radius))
    target.upper.copy_((vertices.amax(0) + margin).clamp(max=target.radius))


def tetgrid_to_tetgrid(target: TetGrid, source: TetGrid) -> None:
    """The same tetrahedra, cut further if the target's are; distances are looked up if they are others."""
    target.lower.copy_(source.lower)
    target.upper.copy_(source.upper)
    if target.resolution == source.resolution:
        target.adopt(source.grid(), source.reach, source.distance, source.deformation)
        for _ in range(target.subdivisions - source.level):
            target.subdivide()
    else:  # finite, because a vertex on the rim may be outside
        target.sample(lambda points: source.sdf(points)[:, 0].clamp(max=2 * source.radius))
    features_to_features(target, source, source.cleaned().vertices)


def gaussians_to_gaussians(target: Gaussians, source: Gaussians) -> None:
    """A copy, however many there are; a lower degree is filled up."""
    if target.degree < source.degree:
        raise ValueError(f"cannot convert Gaussians of degree {source.degree} to degree {target.degree}")
    missing = target.rest.shape[1] - source.rest.shape[1]
    state = source.state_dict()
    target.load_state_dict({**state, "rest": F.pad(state["rest"], (0, 0, 0, missing))})


def surface_to_gaussians(target: Gaussians, source: Geometry) -> None:
    """Round ones at random places of the surface, as many as the target has; deterministic."""
    mesh = source.surface(SURFACE)
    points = spread(mesh.vertices, mesh.faces, target.count, torch.Generator().manual_seed(0))
    target.place(points, source.features(points))


def features_to_features(
    target: SDF | TetGrid, source: SDF | TetGrid | Density, surface: Float[Tensor, "V 3"]
) -> None:
    """Copy where both are built alike; where the copy does not say the same, fit near the surface."""
    read = source.colouring if isinstance(source, SDF) else source.encoding
    same = copied(target.encoding, read) and copied(target.feature, source.feature)
    if not (same and torch.allclose(target.features(surface), source.features(surface), atol=1e-4)):
        fit_features(target, source.features, surface)


def copied(target: torch.nn.Module, source: torch.nn.Module) -> bool:
    """Copy parameters and buffers if all names and shapes agree; say whether they did."""
    ours, theirs = ({name: v.shape for name, v in m.state_dict().items()} for m in (target, source))
    if ours == theirs:
        target.load_state_dict(source.state_dict())
    return ours == theirs


def fit_features(
    target: SDF | TetGrid, features: Callable[[Tensor], Tensor], surface: Float[Tensor, "V 3"]
) -> None:
    """Least squares on random points around the surface; deterministic."""
    generator = torch.Generator().manual_seed(0)
    parameters = [*target.encoding.parameters(), *target.feature.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.01, betas=(0.9, 0.99))
    for _ in range(300):
        pick = torch.randint(len(surface), (2048,), generator=generator)
        noise = torch.randn(2048, 3, generator=generator) * 0.02 * target.radius
        points = surface[pick] + noise.to(surface)
        wanted = features(points)
        with torch.enable_grad():
            loss = F.mse_loss(target.features(points), wanted)
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()


CONVERSIONS: dict[tuple[type, type], Callable] = {
    (SDF, SDF): sdf_to_sdf,
    (Density, Density): density_to_density,
    (SDF, Density): density_to_sdf,
    (TetGrid, Density): density_to_tetgrid,
    (TetGrid, SDF): sdf_to_tetgrid,
    (TetGrid, TetGrid): tetgrid_to_tetgrid,
    (Gaussians, Gaussians): gaussians_to_gaussians,
    (Gaussians, Geometry): surface_to_gaussians,
}
