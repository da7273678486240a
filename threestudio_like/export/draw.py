"""A textured mesh as cameras see it, without light: the base colour alone, which is all the file holds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.ops.mesh import vertex_normals
from threestudio_like.ops.supersample import averaged, hits
from threestudio_like.ops.texture import sample
from threestudio_like.records import Camera, Mesh, View

NEAR, FAR = 0.1, 20.0


@torch.no_grad()
def draw(mesh: Mesh, camera: Camera, oversampling: int) -> View:
    """Straight colour, alpha, depth and smooth normals; each pixel is the mean of oversampling^2 samples."""
    assert mesh.uv is not None and mesh.uv_faces is not None and mesh.texture is not None
    seen = hits(mesh, camera, oversampling, NEAR, FAR)
    rgb = sample(mesh.texture, seen.interpolated(mesh.uv, mesh.uv_faces))
    normals = vertex_normals(mesh.vertices, mesh.faces)
    return averaged(camera, seen, rgb, seen.interpolated(normals, mesh.faces))


def over_white(view: View) -> Float[Tensor, "B H W 3"]:
    """The colours on white."""
    return view.rgba[..., :3]


def clay(view: View) -> Float[Tensor, "B H W 3"]:
    """The shape alone, on white: grey, lit from the camera's side and from above."""
    assert view.normal is not None
    lamp = F.normalize(view.camera.c2w[:, :3, 2] + view.normal.new_tensor([0.0, 0.0, 1.0]), dim=-1)
    shade = 0.25 + 0.65 * (view.normal * lamp[:, None, None]).sum(-1, keepdim=True).clamp(min=0)
    return (shade * view.alpha + 1 - view.alpha).expand(-1, -1, -1, 3)
