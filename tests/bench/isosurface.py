"""Marching tetrahedra against the published algorithm, on one lattice; and against marching cubes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from timing import Contest, peer, rows, table
from torch import Tensor

from threestudio_like.data import shapes
from threestudio_like.ops.isosurface import EDGES, Lattice, case_triangles, lattice, marching_tets
from threestudio_like.ops.mesh import signed_volume

March = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def published(vertices: Tensor, sdf: Tensor, tets: Tensor) -> tuple[Tensor, Tensor]:
    """As published with DMTet: the crossed tetrahedra's edges are sorted and made unique at each call."""
    with torch.no_grad():
        inside = sdf < 0
        corners = inside[tets.reshape(-1)].reshape(-1, 4)
        total = corners.sum(-1)
        crossed = (total > 0) & (total < 4)
        ends = tets[crossed][:, torch.tensor(EDGES).reshape(-1)].reshape(-1, 2).sort(dim=-1).values
        unique, inverse = torch.unique(ends, dim=0, return_inverse=True)
        cut = inside[unique.reshape(-1)].reshape(-1, 2).sum(-1) == 1
        number = torch.full((len(unique),), -1)
        number[cut] = torch.arange(int(cut.sum()))
        numbers = number[inverse].reshape(-1, 6)
        triangles = case_triangles()[(corners[crossed] * torch.tensor([1, 2, 4, 8])).sum(-1)]
        two = triangles[:, 3] >= 0
        one_face = torch.gather(numbers[~two], 1, triangles[~two, :3])
        two_faces = torch.gather(numbers[two], 1, triangles[two]).reshape(-1, 3)
        a, b = unique[cut].unbind(-1)
    at_a, at_b = sdf[a, None], sdf[b, None]
    points = (vertices[a] * at_b - vertices[b] * at_a) / (at_b - at_a)
    return points, torch.cat([one_face, two_faces])


def fields(grid: Lattice) -> dict[str, Tensor]:
    """Signed distances at the lattice's vertices: a sphere, and a thing of several parts."""
    thing = shapes.shape(0, 3)
    return {
        "sphere": torch.linalg.vector_norm(grid.vertices, dim=-1) - 0.5,
        "shape": shapes.sdf(thing, grid.vertices * 0.55)[:, 0],
    }


def contest(resolution: int, name: str) -> Contest:
    """One surface; gradients of the sum of the points go to the lattice's vertices and to the distances."""
    grid = lattice(resolution)
    wide = grid.tets.long()
    inputs = (grid.vertices.clone().requires_grad_(), fields(grid)[name].requires_grad_())

    def side(march: March) -> Callable[[], tuple[Tensor, ...]]:
        def both() -> tuple[Tensor, ...]:
            points, faces = march(*inputs)
            return signed_volume(points.detach(), faces), *torch.autograd.grad(points.sum(), inputs)

        return both

    sides: dict[str, Callable[[], Any]] = {
        "ours": side(lambda v, s: marching_tets(v, s, grid)),
        "ours, torch": side(lambda v, s: marching_tets.reference(v, s, grid)),
        "published, torch": side(lambda v, s: published(v, s, wide)),
    }
    return Contest(f"marching tetrahedra {resolution}, {name}", sides)


def extraction(resolution: int) -> Contest:
    """A bumpy ball, forward only: tetrahedra against marching cubes, with as many values each."""
    grid = lattice(resolution)
    side = torch.linspace(-1, 1, resolution + 1)
    z, y, x = torch.meshgrid(side, side, side, indexing="ij")
    cubes = ball(torch.stack([x, y, z], dim=-1)).numpy()
    values = ball(grid.vertices)
    sides: dict[str, Callable[[], Any]] = {"ours": lambda: marching_tets(grid.vertices, values, grid)}
    if measure := peer("skimage.measure"):
        sides["scikit-image"] = lambda: measure.marching_cubes(cubes, 0.0)
    if mcubes := peer("mcubes"):
        sides["PyMCubes"] = lambda: mcubes.marching_cubes(cubes, 0.0)
    return Contest(f"isosurface of {resolution}^3 values", sides)


def ball(points: Tensor) -> Tensor:
    """Signed distances, nearly, of one with bumps."""
    x, y, z = (8 * points).unbind(-1)
    return torch.linalg.vector_norm(points, dim=-1) - 0.68 - 0.08 * torch.sin(x) * torch.sin(y) * torch.sin(z)


def contests() -> Iterator[Contest]:
    """64 has as many vertices as the published grid that is named 128."""
    for name in ("sphere", "shape"):
        yield contest(64, name)
    for resolution in (32, 128):
        yield contest(resolution, "sphere")
    yield extraction(128)


if __name__ == "__main__":
    print(table(rows(contests())))
