"""The files of Gaussians that viewers read: binary little-endian PLY, one float property a column.

x y z, nx ny nz (0), f_dc_*, f_rest_* (all coefficients of the first channel, then of the second and third),
opacity (a logit), scale_* (logarithms), rot_* (w x y z). Colour is 1/2 + the harmonics' sum.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

HEADER_END = b"end_header\n"


def packed(columns: Mapping[str, Float[Tensor, " N"]]) -> bytes:
    """A file of these columns, in their order."""
    table = torch.stack(list(columns.values()), dim=-1).detach().cpu().float().numpy()
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    lines += [f"property float {name}" for name in columns]
    return "\n".join(lines).encode() + b"\n" + HEADER_END + table.astype("<f4").tobytes()


def unpacked(content: bytes) -> dict[str, Float[Tensor, " N"]]:
    """The columns of a file."""
    header, end, body = content.partition(HEADER_END)
    lines = header.decode("ascii", errors="replace").split("\n")
    if lines[0] != "ply" or not end:
        raise ValueError("not a PLY file")
    words = [line.split() for line in lines[1:] if line and not line.startswith(("comment", "obj_info"))]
    names = [line[-1] for line in words if line[0] == "property"]
    if words[0][1:2] != ["binary_little_endian"] or [line[1] for line in words if line[0] == "element"] != [
        "vertex"
    ]:
        raise ValueError("a PLY file of Gaussians is binary_little_endian and has vertices alone")
    if any(line[1:-1] not in (["float"], ["float32"]) for line in words if line[0] == "property"):
        raise ValueError("a PLY file of Gaussians has float properties alone")
    count = int(next(line[2] for line in words if line[0] == "element"))
    if len(body) != 4 * count * len(names):
        raise ValueError(f"a PLY file of {count} Gaussians that ends too early, or too late")
    table = torch.from_numpy(np.frombuffer(body, "<f4").astype(np.float32)).view(count, len(names))
    return {name: table[:, i].clone() for i, name in enumerate(names)}
