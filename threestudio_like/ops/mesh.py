"""Geometry of triangle meshes: normals, edges, Laplacian, volume, parts. Faces wind outward."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

TINY = 1e-20  # squared length below which a normal has no direction


def _unit(vectors: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Of unit length; 0, with gradient 0, where there is no direction."""
    squared = (vectors * vectors).sum(-1, keepdim=True)
    some = squared > TINY
    return torch.where(some, vectors, 0.0) / torch.where(some, squared, 1.0).sqrt()


def _doubled_areas(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "F 3"]:
    """Normals of the faces, as long as twice their areas."""
    p0, p1, p2 = vertices[faces].unbind(1)
    return torch.linalg.cross(p1 - p0, p2 - p0)


def face_normals(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "F 3"]:
    """Unit normals; 0 for faces without area."""
    return _unit(_doubled_areas(vertices, faces))


def vertex_normals(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "V 3"]:
    """Unit means of the faces around each vertex by their areas; 0 where there are none."""
    normals = _doubled_areas(vertices, faces).repeat_interleave(3, dim=0)
    return _unit(torch.zeros_like(vertices).index_add(0, faces.reshape(-1), normals))


def area(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, ""]:
    """Of the whole surface."""
    return 0.5 * torch.linalg.vector_norm(_doubled_areas(vertices, faces), dim=-1).sum()


def spread(
    vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], count: int, generator: torch.Generator
) -> Float[Tensor, "N 3"]:
    """Random points on the surface, evenly by area; of a generator on the CPU. No faces: ValueError."""
    if not len(faces):
        raise ValueError("spread: a mesh without faces has no surface to put points on")
    corners = vertices[faces]
    areas = torch.linalg.vector_norm(_doubled_areas(vertices, faces), dim=-1)
    ends = areas.double().cumsum(0)
    along = torch.rand(count, generator=generator, dtype=torch.float64).to(ends.device)
    face = torch.searchsorted(ends, along * ends[-1]).clamp(max=len(areas) - 1)
    u, v = torch.rand(2, count, 1, generator=generator).to(vertices)
    root = u.sqrt()
    a, b, c = corners[face].unbind(1)
    return (1 - root) * a + root * (1 - v) * b + root * v * c


def signed_volume(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, ""]:
    """What a closed mesh encloses; positive if its faces wind outward."""
    p0, p1, p2 = vertices[faces].unbind(1)
    return (p0 * torch.linalg.cross(p1, p2)).sum() / 6.0


def _sides(faces: Int[Tensor, "F 3"]) -> tuple[Int[Tensor, "F 3"], int]:
    """A number for the side across from each corner, `base` x lower vertex + higher vertex; and `base`."""
    base = int(faces.max()) + 1 if len(faces) else 1
    one, other = faces.roll(-1, dims=1), faces.roll(-2, dims=1)
    return torch.minimum(one, other) * base + torch.maximum(one, other), base


def edges(faces: Int[Tensor, "F 3"]) -> Int[Tensor, "E 2"]:
    """Each edge once, lower vertex first, sorted."""
    sides, base = _sides(faces)
    unique = torch.unique(sides)
    return torch.stack([unique // base, unique % base], dim=1)


def neighbours(faces: Int[Tensor, "F 3"]) -> Int[Tensor, "F 3"]:
    """The face that shares the side across from each corner, as 3 face + its corner across from that side.

    -1 if the side does not belong to exactly two faces: at the rim of an open mesh, or where sheets meet.
    """
    _, edge, count = torch.unique(_sides(faces)[0], return_inverse=True, return_counts=True)
    corners = torch.arange(faces.numel(), device=faces.device).reshape(faces.shape)
    total = torch.zeros_like(count).index_add(0, edge.reshape(-1), corners.reshape(-1))
    return torch.where(count[edge] == 2, total[edge] - corners, -1)


def laplacian(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "V 3"]:
    """From each vertex to the middle of its neighbours; 0 where there are none."""
    pairs = edges(faces)
    ends = torch.cat([pairs, pairs.flip(1)])
    total = torch.zeros_like(vertices).index_add(0, ends[:, 0], vertices[ends[:, 1]] - vertices[ends[:, 0]])
    return total / torch.bincount(ends[:, 0], minlength=len(vertices)).clamp(min=1)[:, None]


def laplacian_loss(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, ""]:
    """Mean distance of a vertex from the middle of its neighbours; 0 for an empty mesh."""
    return torch.linalg.vector_norm(laplacian(vertices, faces), dim=-1).sum() / max(len(vertices), 1)


def components(faces: Int[Tensor, "F 3"], num_vertices: int) -> Int[Tensor, " V"]:
    """The least vertex of the connected part each vertex is in."""
    labels = torch.arange(num_vertices, device=faces.device)
    while True:
        least = labels[faces].amin(dim=1, keepdim=True).expand(-1, 3).reshape(-1)
        # to the corners, and to the corners' labels, so that whole parts merge at once
        lower = labels.scatter_reduce(0, labels[faces].reshape(-1), least, "amin")
        lower = lower.scatter_reduce(0, faces.reshape(-1), least, "amin")
        lower = lower[lower]
        if torch.equal(lower, labels):
            return labels
        labels = lower


def large_components(
    vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], share: float
) -> tuple[Float[Tensor, "V2 3"], Int[Tensor, "F2 3"]]:
    """The connected parts that have at least `share` of the largest's faces, and their vertices alone."""
    part = components(faces, len(vertices))[faces[:, 0]]
    sizes = torch.bincount(part, minlength=1)
    kept = faces[sizes[part] >= share * sizes.max()]
    used, corners = torch.unique(kept, return_inverse=True)
    return vertices[used], corners.reshape(-1, 3)
