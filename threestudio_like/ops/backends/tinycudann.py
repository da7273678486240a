"""hashgrid by tiny-cuda-nn (Mueller 2021), where `ops.backend` asks for it; the table stays ours.

As here: the primes, x fastest, and dense levels where they fit the table. Otherwise there: a level of base
resolution r + 1 has r cells, a number of rows that is a multiple of eight, and is read at r x + 1/2. So each
level is an encoding of its own, of the table's first rows, at x - 1 / (2 r): exact but for rounding, and not
the one fused pass over all levels that tiny-cuda-nn is fast at.
"""

from __future__ import annotations

import functools
from typing import Any

import tinycudann
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

FEATURES = (1, 2, 4, 8)
INSIDE = 1e-6  # how far points stay from the faces of the box: rounded below 0, a cell is another one


@functools.cache
def _encoding(resolution: int, table_size: int, num_features: int, dtype: torch.dtype) -> Any:
    """One level; its own parameters are never used."""
    config = {
        "otype": "Grid",
        "type": "Hash",
        "n_levels": 1,
        "n_features_per_level": num_features,
        "log2_hashmap_size": table_size.bit_length() - 1,
        "base_resolution": resolution + 1,
        "per_level_scale": 1.0,
        "interpolation": "Linear",
    }
    return tinycudann.Encoding(3, config, dtype=dtype)


def hashgrid(
    points: Float[Tensor, "N 3"], table: Float[Tensor, "L T F"], resolutions: tuple[int, ...]
) -> Float[Tensor, "N LF"]:
    """See ops.hashgrid."""
    _, table_size, num_features = table.shape
    if num_features not in FEATURES or table.dtype not in (torch.float32, torch.float16):
        raise ValueError(
            f"tinycudann: {num_features} features in {table.dtype}; it has 1, 2, 4, 8, float32, float16"
        )
    inside = points.clamp(INSIDE, 1 - INSIDE)
    features = []
    for rows, resolution in zip(table, resolutions, strict=True):
        encoding = _encoding(resolution, table_size, num_features, table.dtype)
        used = rows[: encoding.params.numel() // num_features].reshape(-1)
        found = functional_call(encoding, {"params": used.float()}, (inside - 0.5 / resolution,))
        features.append(found.float())
    return torch.cat(features, dim=-1)
