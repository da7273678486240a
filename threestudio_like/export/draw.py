"""A textured mesh as cameras see it, without light: the base colour alone, which is all the file holds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.ops.camera import world_to_clip
from threestudio_like.ops.mesh import vertex_normals
from threestudio_like.ops.raster import interpolate, rasterize
from threestudio_like.ops.texture import sample
from threestudio_like.records import Camera, Mesh, View

NEAR, FAR = 0.1, 20.0


@torch.no_grad()
def draw(mesh: Mesh, camera: Camera, oversampling: int) -> View:
    """Straight colour, alpha, depth and smooth normals; each pixel is the mean of oversampling^2 samples."""
    assert mesh.uv is not None and mesh.uv_faces is not None and mesh.texture is not None
    height, width = camera.height * oversampling, camera.width * oversampling
    clip = F.pad(mesh.vertices, (0, 1), value=1.0) @ world_to_clip(camera, NEAR, FAR).transpose(1, 2)
    fragments = rasterize(clip.contiguous(), mesh.faces, height, width)
    covered = fragments.face >= 0
    uv = interpolate(mesh.uv, fragments, mesh.uv_faces)[covered]
    normal = interpolate(vertex_normals(mesh.vertices, mesh.faces), fragments, mesh.faces)
    depth = 2 * FAR * NEAR / (FAR + NEAR - fragments.depth * (FAR - NEAR))
    samples = torch.zeros(*covered.shape, 8)
    samples[covered] = torch.cat(
        [sample(mesh.texture, uv), depth[covered], normal[covered], torch.ones_like(uv[:, :1])], dim=-1
    )
    means = F.avg_pool2d(samples.permute(0, 3, 1, 2), oversampling).permute(0, 2, 3, 1)
    rgb, depth, normal, alpha = means.split([3, 1, 3, 1], dim=-1)
    cover = alpha.clamp(min=1e-6)
    return View(camera, rgb / cover, alpha, depth / cover, F.normalize(normal, dim=-1))


def over_white(view: View) -> Float[Tensor, "B H W 3"]:
    """The colours on white."""
    return view.rgba[..., :3]


def clay(view: View) -> Float[Tensor, "B H W 3"]:
    """The shape alone, on white: grey, lit from the camera's side and from above."""
    assert view.normal is not None
    lamp = F.normalize(view.camera.c2w[:, :3, 2] + view.normal.new_tensor([0.0, 0.0, 1.0]), dim=-1)
    shade = 0.25 + 0.65 * (view.normal * lamp[:, None, None]).sum(-1, keepdim=True).clamp(min=0)
    return (shade * view.alpha + 1 - view.alpha).expand(-1, -1, -1, 3)
