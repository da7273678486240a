"""marching_tets on the CPU; ops/isosurface.py has the mathematics.

Two passes over the whole lattice find the few edges and tetrahedra that the surface crosses; all else is as
small as the surface.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from threestudio_like.ops import isosurface as op
from threestudio_like.ops.backends.numba.kernels import kernel, run

BLOCK = 2**14  # edges or tetrahedra of a task


@kernel
def _find(task, step, block, cells, corners, inside, found, counts):
    """Cells with vertices on both sides; those of a block are put where it begins, to keep their order.

    `corners` is a tuple, as its length is a constant to the compiler; unsigned indices spare the check for
    negative ones. Either halves the time.
    """
    for b in range(task, len(counts), step):
        first, count = np.uint64(b * block), np.uint64(0)
        last = min(first + np.uint64(block), np.uint64(len(cells)))
        for c in range(first, last):
            total = 0
            for j in range(len(corners)):
                total += inside[np.uint32(cells[c, j])]
            if total != 0 and total != len(corners):
                found[first + count] = c
                count += np.uint64(1)
        counts[b] = count


@kernel
def _cut(task, step, ends, positions, sdf, out):
    """The point of each crossed edge where the distance is zero."""
    for row in range(task, len(ends), step):
        p, q = ends[row]
        for k in range(3):
            out[row, k] = (positions[p, k] * sdf[q] - positions[q, k] * sdf[p]) / (sdf[q] - sdf[p])


@kernel
def _connect(task, step, active, tets, tet_edges, inside, triangles, number, out, num_faces):
    """One or two triangles in each crossed tetrahedron; one task, as each begins where the last one ended."""
    face = 0
    for tet in active:
        case = 0
        for i in range(4):
            case |= np.int64(inside[tets[tet, i]]) << i
        for corner in range(3 if triangles[case, 3] < 0 else 6):
            out[face + corner // 3, corner % 3] = number[tet_edges[tet, triangles[case, corner]]]
        face += 1 if triangles[case, 3] < 0 else 2
    num_faces[0] = face


@kernel
def _backward(task, step, ends, positions, sdf, gradient, positions_gradient, sdf_gradient):
    """A task for each of the two gradients, so that every sum has one order."""
    for t in range(task, 2, step):
        for row in range(len(ends)):
            p, q = ends[row]
            span = sdf[q] - sdf[p]
            along = np.float32(0)
            for k in range(3):
                g = gradient[row, k]
                if t == 0:
                    positions_gradient[p, k] += g * sdf[q] / span
                    positions_gradient[q, k] -= g * sdf[p] / span
                along += g * (positions[p, k] - positions[q, k])
            if t == 1:
                sdf_gradient[p] += along * sdf[q] / (span * span)
                sdf_gradient[q] -= along * sdf[p] / (span * span)


def _crossed(cells: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Which edges, or tetrahedra, have vertices on both sides; ascending."""
    tasks = -(-len(cells) // BLOCK)
    found, counts = np.empty(len(cells), np.int32), np.empty(tasks, np.int64)
    run(_find, tasks, BLOCK, cells, (0,) * cells.shape[1], inside, found, counts)
    return np.concatenate([found[b * BLOCK : b * BLOCK + count] for b, count in enumerate(counts)])


def _faces(lattice: op.Lattice, inside: np.ndarray, crossed: np.ndarray) -> Tensor:
    """Triangles between the points of the crossed edges, numbered as those are."""
    tets, tet_edges = lattice.tets.numpy(), lattice.tet_edges.numpy()
    active = _crossed(tets, inside)
    number = np.empty(len(lattice.edges), np.int32)
    number[crossed] = np.arange(len(crossed), dtype=np.int32)
    faces, num_faces = torch.empty(2 * len(active), 3, dtype=torch.int64), np.empty(1, np.int64)
    triangles = op.case_triangles().numpy()
    run(_connect, 1, active, tets, tet_edges, inside, triangles, number, faces.numpy(), num_faces)
    return faces[: num_faces[0]]


class _MarchingTets(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions: Tensor, sdf: Tensor, lattice: op.Lattice) -> tuple[Tensor, Tensor]:
        positions, sdf = positions.detach().contiguous(), sdf.detach().contiguous()
        inside = (sdf < 0).view(torch.uint8).numpy()
        crossed = _crossed(lattice.edges.numpy(), inside)
        ends, points = lattice.edges[torch.from_numpy(crossed)], positions.new_empty(len(crossed), 3)
        run(_cut, 1, *[tensor.numpy() for tensor in (ends, positions, sdf, points)])
        faces = _faces(lattice, inside, crossed)
        ctx.save_for_backward(positions, sdf, ends)
        ctx.mark_non_differentiable(faces)
        return points, faces

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        positions, sdf, ends = ctx.saved_tensors
        totals = torch.zeros_like(positions), torch.zeros_like(sdf)
        tensors = (ends, positions, sdf, gradients[0].contiguous(), *totals)
        run(_backward, 2, *[tensor.numpy() for tensor in tensors])
        return *totals, None


def marching_tets(
    vertices: Float[Tensor, "V 3"], sdf: Float[Tensor, " V"], lattice: op.Lattice
) -> tuple[Float[Tensor, "P 3"], Int[Tensor, "F 3"]]:
    """See ops.isosurface; gradients have no gradients."""
    return _MarchingTets.apply(vertices, sdf, lattice)
