"""Laying isosurfaces flat: ours, which packs pieces that it cut, against unwrappers that do it all."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable

import torch
import xatlas

from threestudio_like.export.unwrap import unwrapped
from threestudio_like.ops.isosurface import lattice, marching_tets
from threestudio_like.records import Mesh

RESOLUTIONS = (32, 64, 92)  # 11,000, 45,000 and 95,000 faces
SLOW = 20_000  # faces above which xatlas takes minutes
SIZE, PADDING = 1024, 4  # texels
REPEATS = 3


def bumpy(resolution: int) -> Mesh:
    """A ball with bumps, marched on the lattice of the default export."""
    grid = lattice(resolution)
    x, y, z = grid.vertices.unbind(-1)
    bumps = 0.08 * torch.sin(8 * x) * torch.sin(8 * y + 1) * torch.sin(8 * z)
    sdf = torch.linalg.vector_norm(grid.vertices, dim=-1) - 0.68 - bumps
    return Mesh(*marching_tets(grid.vertices, sdf, grid))


def ours(mesh: Mesh) -> None:
    """As `export/model.yaml` has it."""
    unwrapped(mesh, size=SIZE, padding=PADDING, smoothing=20)


def by_xatlas(mesh: Mesh) -> None:
    """Its own charts, default options."""
    atlas = xatlas.Atlas()
    atlas.add_mesh(mesh.vertices.numpy(), mesh.faces.to(torch.uint32).numpy())
    pack = xatlas.PackOptions()
    pack.resolution, pack.padding = SIZE, PADDING
    atlas.generate(xatlas.ChartOptions(), pack)


def by_uvunwrap(mesh: Mesh) -> None:
    """Default options."""
    import uvunwrap

    model = uvunwrap.Mesh(mesh.vertices.numpy(), mesh.faces.to(torch.uint32).numpy())
    uvunwrap.generate([model], page_size=SIZE, padding=PADDING)


def milliseconds(unwrap: Callable[[Mesh], None], mesh: Mesh, repeats: int) -> float:
    """The least of some."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        unwrap(mesh)
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def rows() -> list[tuple[str, str, float]]:
    """(what, whose, milliseconds); uvunwrap where it is installed."""
    found = []
    ours(bumpy(16))  # compiles
    for resolution in RESOLUTIONS:
        mesh = bumpy(resolution)
        what = f"UV unwrapping, {len(mesh.faces)} faces"
        found.append((what, "ours", milliseconds(ours, mesh, REPEATS)))
        if len(mesh.faces) <= SLOW:
            found.append((what, "xatlas", milliseconds(by_xatlas, mesh, 1)))
        if importlib.util.find_spec("uvunwrap") is not None:
            found.append((what, "uvunwrap", milliseconds(by_uvunwrap, mesh, REPEATS)))
    return found


if __name__ == "__main__":
    for what, whose, spent in rows():
        print(f"{what:32} {whose:18} {spent:9.2f} ms")
