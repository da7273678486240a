"""Every contest at a size of milliseconds: to see that the sides agree, and what the first call costs."""

from __future__ import annotations

from collections.abc import Iterator

import compositing
import hashgrid
import isosurface
import raster
import splat
import timing
from timing import Contest, timed


def contests() -> Iterator[Contest]:
    """One or two for each op; the levels of the hash grid are all hashed, for peers that know no others."""
    for to_points in (False, True):
        yield hashgrid.contest(hashgrid.Size(500, 3, 10, 40, 200), to_points=to_points)
    yield raster.drawing(raster.scene(2, 32))
    yield raster.seeing(raster.scene(2, 32))
    yield compositing.compositing(20, 16)
    yield isosurface.contest(8, "sphere")
    yield splat.contest(100, 32)


if __name__ == "__main__":  # of ours alone, in a process of its own: what firsts.py asks for
    timing.with_peers = False
    for what, sides in contests():
        first, again = (timed(sides["ours"]) for _ in range(2))
        print(what, first - again, sep="\t")
