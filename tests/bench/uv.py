"""Laying isosurfaces flat: ours, which packs pieces that it cut, against unwrappers that do it all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import xatlas
from timing import Contest, peer, rows, table

from threestudio_like.export.unwrap import unwrapped
from threestudio_like.ops.isosurface import lattice, marching_tets
from threestudio_like.records import Mesh

RESOLUTIONS = (32, 92)  # 11,000 and 95,000 faces
SLOW = 20_000  # faces above which xatlas takes minutes
SIZE, PADDING = 1024, 4  # texels


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


def contest(resolution: int) -> Contest:
    """One surface."""
    mesh = bumpy(resolution)
    sides: dict[str, Callable[[], None]] = {"ours": lambda: ours(mesh)}
    if len(mesh.faces) <= SLOW:
        sides["xatlas"] = lambda: by_xatlas(mesh)
    if peer("uvunwrap"):
        sides["uvunwrap"] = lambda: by_uvunwrap(mesh)
    return Contest(f"UV unwrapping, {len(mesh.faces)} faces", sides)


def contests() -> Iterator[Contest]:
    """Sizes of exported surfaces."""
    yield from map(contest, RESOLUTIONS)


if __name__ == "__main__":
    print(table(rows(contests())))
