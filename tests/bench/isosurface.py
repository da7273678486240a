"""Marching tetrahedra, forward and backward: ours against the published algorithm, on one lattice."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from threestudio_like.data import shapes
from threestudio_like.ops.isosurface import EDGES, Lattice, case_triangles, lattice, marching_tets
from threestudio_like.ops.mesh import signed_volume

RESOLUTIONS = (32, 64, 128)  # 64 has as many vertices as the published grid that is named 128
REPEATS = 5
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


def milliseconds(march: March, vertices: Tensor, sdf: Tensor) -> float:
    """Of a forward and a backward pass, the least of some; the first one, which may compile, is left out."""
    inputs, times = (vertices.clone().requires_grad_(), sdf.clone().requires_grad_()), []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        points, _ = march(*inputs)
        torch.autograd.grad(points.sum(), inputs)
        times.append(time.perf_counter() - start)
    return 1000 * min(times[1:])


def rows() -> list[tuple[str, str, float]]:
    """(what, whose, milliseconds)."""
    found = []
    for resolution in RESOLUTIONS:
        grid = lattice(resolution)
        wide = grid.tets.long()
        marches: dict[str, March] = {
            "ours": lambda v, s, grid=grid: marching_tets(v, s, grid),  # type: ignore[misc]
            "ours, torch": lambda v, s, grid=grid: marching_tets.reference(v, s, grid),  # type: ignore
            "published, torch": lambda v, s, wide=wide: published(v, s, wide),  # type: ignore[misc]
        }
        for name, sdf in fields(grid).items():
            volumes = [signed_volume(*march(grid.vertices, sdf)) for march in marches.values()]
            torch.testing.assert_close(torch.stack(volumes), volumes[0].expand(3))
            for whose, march in marches.items():
                what = f"marching tetrahedra {resolution}, {name}"
                found.append((what, whose, milliseconds(march, grid.vertices, sdf)))
    return found


if __name__ == "__main__":
    for what, whose, spent in rows():
        print(f"{what:32} {whose:18} {spent:9.2f} ms")
