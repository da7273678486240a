"""What a good mesh looks like, whatever it shows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.ops.mesh import edges, laplacian_loss, vertex_normals
from threestudio_like.records import Mesh


def normal_consistency(mesh: Mesh) -> Float[Tensor, ""]:
    """Mean of 1 - cosine between the normals at both ends of each edge; 0 for an empty mesh."""
    ends = vertex_normals(mesh.vertices, mesh.faces)[edges(mesh.faces)]
    bend = 1 - F.cosine_similarity(ends[:, 0], ends[:, 1], dim=-1)
    return bend.sum() / max(len(bend), 1)


def laplacian(mesh: Mesh) -> Float[Tensor, ""]:
    """Mean distance of a vertex from the middle of its neighbours; 0 for an empty mesh."""
    return laplacian_loss(mesh.vertices, mesh.faces)


def sign_change(pairs: Float[Tensor, "E 2"]) -> Float[Tensor, ""]:
    """Mean cross-entropy of each end's distance to the sign of the other (Munkberg et al. 2022, eq. 2).

    `pairs` are the signed distances at lattice edges that the surface crosses; floaters vanish.
    """
    a, b = pairs.unbind(-1)
    outside = (torch.cat([b, a]) > 0).to(a.dtype)
    crossed = F.binary_cross_entropy_with_logits(torch.cat([a, b]), outside, reduction="sum")
    return crossed / max(len(pairs), 1)
