"""Volume subdivision while it is trained (Shen et al. 2021, section 3.1): detail comes when the shape stands.

After chosen steps the tetrahedra on the surface are cut in eight. The surface stays where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import nn
from torch.optim import Optimizer

from threestudio_like.geometry.moments import exchange
from threestudio_like.geometry.tetgrid import TetGrid
from threestudio_like.ops.subdivision import with_middles
from threestudio_like.records import Render


class Subdivide(nn.Module):
    """A strategy: what changes a scene between steps.

    at: how many steps are done when it happens; each time a cell's side is halved. Empty: never.
    """

    def __init__(self, *, at: Sequence[int]) -> None:
        super().__init__()
        if list(at) != sorted(set(at)) or any(done < 1 for done in at):
            raise ValueError(f"at: numbers of steps, at least 1, each larger than the one before; not {at}")
        self.at = tuple(at)

    def after_step(self, scene: nn.Module, render: Render | None, optimizer: Optimizer, step: int) -> None:
        """What is due after step `step`, counted from 0 as batches are; `scene.geometry` is tetrahedra.

        A vertex in the middle of an edge gets the means of the moments at its ends.
        """
        if step + 1 not in self.at:
            return
        geometry = scene.geometry
        if not isinstance(geometry, TetGrid):
            raise ValueError(f"subdivide: takes tetrahedra, not {type(geometry).__name__}")
        names = ("distance", "deformation")
        old = {name: getattr(geometry, name) for name in names}
        parents = geometry.subdivide()
        for name in names:
            exchange(optimizer, old[name], getattr(geometry, name), partial(with_middles, parents=parents))
