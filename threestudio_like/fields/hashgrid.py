"""Features of a point from a trained multiresolution hash table (Mueller et al. 2022).

Every encoding takes points in [0, 1]^3 and says how many features it has in `num_outputs`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.ops.hashgrid import growing_resolutions, hashgrid
from threestudio_like.ranges import Bits, Count


class HashGrid(nn.Module):
    """Owns the table; ops/hashgrid.py reads it.

    Args:
        num_levels: grids of growing resolution.
        features_per_level: learned numbers at a grid vertex.
        log2_table: rows of a level's table, as a power of two.
        base_resolution, finest_resolution: cells a side of the first level and the last.
        opened: how many levels count, by the step, coarse ones first (Li et al. 2023, Neuralangelo, section
            3.2); null: all. The number is saved: features mean something at that many only.
    """

    levels: Float[Tensor, ""]  # that count now

    def __init__(
        self,
        *,
        num_levels: Count,
        features_per_level: Count,
        log2_table: Bits,
        base_resolution: Count,
        finest_resolution: Count,
        opened: Callable[[int], float] | None,
    ) -> None:
        super().__init__()
        if num_levels < 1 or not 1 <= base_resolution <= finest_resolution:
            raise ValueError(
                f"fields.hashgrid: {num_levels} levels from resolution {base_resolution} to"
                f" {finest_resolution}; give at least one level, and resolutions that grow"
            )
        self.resolutions = growing_resolutions(num_levels, base_resolution, finest_resolution)
        self.num_outputs = num_levels * features_per_level
        table = torch.empty(num_levels, 2**log2_table, features_per_level)
        table.uniform_(-1e-4, 1e-4)  # section 4: random, and near zero everywhere
        self.table = nn.Parameter(table)
        self.opened = opened
        if opened is not None:
            self.register_buffer("levels", torch.zeros(()))
            self.at(0)

    @torch.no_grad()
    def at(self, step: int) -> None:
        """Be what it is at this step of its training; what is open, as it was taken over, is not closed."""
        if self.opened is None:
            return
        count = self.opened(step)
        if not count >= 1:
            raise ValueError(f"opened: at least 1 level counts, not {count:g} (at step {step})")
        self.levels.fill_(max(min(int(count), len(self.resolutions)), int(self.levels)))

    def forward(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """Features of points in [0, 1]^3, coarse levels first; points outside count as on the faces."""
        features = hashgrid(points, self.table, self.resolutions)
        if self.opened is None:
            return features
        level = torch.arange(len(self.resolutions), device=features.device)
        return features * (level < self.levels).repeat_interleave(self.table.shape[-1])
