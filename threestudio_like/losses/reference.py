"""A render against the user's picture (DreamCraft3D, Sun et al. 2023, section 3.1).

Depth and normal terms are the paper's plus one, so that a perfect match is 0.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.losses.image import mask_mse, masked_mse, pearson
from threestudio_like.records import Render, View


def reference_losses(render: Render, reference: View) -> dict[str, Float[Tensor, ""]]:
    """`rgb` and `mask`, and `depth` and `normal` where the picture comes with them."""
    losses = {
        "rgb": masked_mse(render.rgb, reference.rgba[..., :3], reference.alpha),
        "mask": mask_mse(render.alpha, reference.alpha),
    }
    both = reference.alpha * render.alpha.detach()  # where nothing is rendered there is no depth to compare
    if reference.depth is not None:
        losses["depth"] = depth_pearson(render.depth, reference.depth, both)
    if reference.normal is not None:
        losses["normal"] = normal_cosine(render.normal, reference.normal, both)
    return losses


def depth_pearson(
    depth: Float[Tensor, "B H W 1"], target: Float[Tensor, "B H W 1"], mask: Float[Tensor, "B H W 1"]
) -> Float[Tensor, ""]:
    """1 - correlation under the mask: blind to the scale and shift that a depth estimator does not know."""
    return 1 - pearson(depth.flatten(1), target.flatten(1), mask.flatten(1)).mean()


def normal_cosine(
    normal: Float[Tensor, "B H W 3"], target: Float[Tensor, "B H W 3"], mask: Float[Tensor, "B H W 1"]
) -> Float[Tensor, ""]:
    """1 - mean cosine under the mask."""
    cosine = F.cosine_similarity(normal, target, dim=-1)
    weights = mask[..., 0]
    return ((1 - cosine) * weights).sum() / weights.sum().clamp_min(1e-8)
