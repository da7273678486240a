"""Scene = geometry + material + background: what is made, saved and handed on."""

from __future__ import annotations

from torch import nn


class Scene(nn.Module):
    """The only thing that travels between stages; renderers are given it, and never own it."""

    def __init__(self, *, geometry: nn.Module, material: nn.Module, background: nn.Module) -> None:
        super().__init__()
        self.geometry = geometry
        self.material = material
        self.background = background
