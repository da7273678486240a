"""PyTorch3D's rasteriser: its C++ form, which is all it has for a CPU."""

from __future__ import annotations

import torch
from pytorch3d.ops.interp_face_attrs import interpolate_face_attributes
from pytorch3d.renderer.blending import BlendParams, hard_rgb_blend, softmax_rgb_blend
from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
from pytorch3d.renderer.mesh.rasterizer import Fragments
from pytorch3d.structures import Meshes
from torch import Tensor


def picture(clip: Tensor, faces: Tensor, colors: Tensor, side: int, *, faces_per_pixel: int) -> Tensor:
    """1 H W 3: one face a pixel, hard edges; or several, blended softly (sigma 1e-4)."""
    soft = faces_per_pixel > 1
    # its x points to the left, its y up, its depth is along the view
    screen = torch.cat([-clip[0, :, :2] / clip[0, :, 3:], clip[0, :, 3:]], dim=-1)
    blend = BlendParams(background_color=(0.0, 0.0, 0.0))
    radius = 9.21 * blend.sigma if soft else 0.0  # where the softness falls to 1e-4
    shown = rasterize_meshes(
        Meshes([screen], [faces]), side, radius, faces_per_pixel, perspective_correct=True
    )
    fragments = Fragments(*shown)
    mixed = interpolate_face_attributes(fragments.pix_to_face, fragments.bary_coords, colors[faces])
    blended = softmax_rgb_blend(mixed, fragments, blend) if soft else hard_rgb_blend(mixed, fragments, blend)
    return blended[..., :3]
