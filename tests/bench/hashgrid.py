"""The hash grid, forward and backward: to its table, and to the points as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from nerfstudio_peer import nerfstudio
from timing import Contest, gradients, peer, rows, table
from torch import Tensor

from threestudio_like.ops.hashgrid import growing_resolutions, hashgrid


class Size(NamedTuple):
    """Of a grid with two features a level, and how many points are looked up."""

    num_points: int
    num_levels: int
    log2_table: int
    base: int
    finest: int


SIZES = (Size(2**18, 16, 19, 16, 2048), Size(2**18, 8, 14, 16, 256))


def contest(size: Size, *, to_points: bool, keep: bool = True) -> Contest:
    """All sides read the same table at the same points. keep: Warp's arrays, from call to call."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(size.num_points, 3, generator=generator)
    cells = torch.rand(size.num_levels, 2**size.log2_table, 2, generator=generator) * 2e-3 - 1e-3
    slope = torch.randn(size.num_points, 2 * size.num_levels, generator=generator)
    resolutions = growing_resolutions(size.num_levels, size.base, size.finest)

    def side(encode: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], tuple[Tensor, ...]]:
        inputs = [cells.requires_grad_(), *([points.requires_grad_()] if to_points else [])]
        where = points if to_points else points.detach()
        return lambda: gradients(encode(where, cells), slope, inputs)

    sides: dict[str, Callable[[], Any]] = {
        "ours": side(lambda where, cells: hashgrid(where, cells, resolutions)),
        "ours, torch": side(lambda where, cells: hashgrid.reference(where, cells, resolutions)),
    }
    if encodings := nerfstudio("field_components.encodings"):
        encoding = encodings.HashEncoding(
            size.num_levels, size.base, size.finest, size.log2_table, implementation="torch"
        )
        encoding.hash_table = torch.nn.Parameter(cells.detach().flatten(0, 1))
        inputs = [encoding.hash_table, *([points] if to_points else [])]
        where = points if to_points else points.detach()
        sides["nerfstudio, torch"] = lambda: gradients(encoding(where), slope, inputs)
    if peer("warp"):
        from warp_peer import HashGrid

        def warp() -> HashGrid:
            return HashGrid(points, cells, resolutions, to_points=to_points)

        grid = warp() if keep else None
        sides["Warp"] = lambda: (grid or warp()).both(slope)
    if peer("cpp_peer"):
        from cpp_peer import HashGrid as Compiled

        plain = Compiled(points, cells, resolutions, to_points=to_points)
        sides["C++, OpenMP"] = lambda: plain.both(slope)
    backward = "to table and points" if to_points else "to table"
    what = f"hash grid, L={size.num_levels} T=2^{size.log2_table}, {backward}"
    return Contest(what, sides)


def contests(*, keep: bool = True) -> Iterator[Contest]:
    """The published size, and that of a small field."""
    for size in SIZES:
        for to_points in (False, True):
            yield contest(size, to_points=to_points, keep=keep)


if __name__ == "__main__":
    print(table(rows(contests())))
