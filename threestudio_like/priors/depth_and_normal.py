"""Two estimators of one picture, asked one after the other: depth by one, normals by the other."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from threestudio_like.records import View


class DepthAndNormal(nn.Module):
    """A view to the same view with what both tell, in the role of `cues`; each tells its own, and no more."""

    def __init__(self, *, depth: Callable[[View], View], normal: Callable[[View], View]) -> None:
        super().__init__()
        self.depth, self.normal = depth, normal

    def forward(self, view: View) -> View:
        """The view with depth and normals; where an estimator tells both, the other's is left out."""
        return view._replace(depth=self.depth(view).depth, normal=self.normal(view).normal)
