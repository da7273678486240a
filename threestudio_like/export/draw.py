"""A coloured mesh as cameras see it, without light: the base colour alone, which is all the file holds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.export.mesh import split
from threestudio_like.ops.mesh import vertex_normals
from threestudio_like.ops.supersample import averaged, hits
from threestudio_like.ops.tangents import from_map, tangents
from threestudio_like.ops.texture import sample
from threestudio_like.records import Camera, Mesh, View

NEAR, FAR = 0.1, 20.0


@torch.no_grad()
def draw(mesh: Mesh, camera: Camera, oversampling: int) -> View:
    """Straight colour, alpha, depth and smooth normals; each pixel is the mean of oversampling^2 samples."""
    seen = hits(mesh, camera, oversampling, NEAR, FAR)
    if mesh.texture is None:
        assert mesh.rgb is not None
        normals = seen.interpolated(vertex_normals(mesh.vertices, mesh.faces), mesh.faces)
        return averaged(camera, seen, seen.interpolated(mesh.rgb, mesh.faces), normals)
    parts = split(mesh)
    uv, normals = seen.interpolated(torch.cat([parts.uv, parts.normals], -1), parts.faces).split([2, 3], -1)
    if mesh.normal_map is not None:
        tangent = seen.interpolated(tangents(*parts), parts.faces)
        normals = from_map(sample(mesh.normal_map, uv), normals, tangent)
    return averaged(camera, seen, sample(mesh.texture, uv), normals)


def over_white(view: View) -> Float[Tensor, "B H W 3"]:
    """The colours on white."""
    return view.rgba[..., :3]


def clay(view: View) -> Float[Tensor, "B H W 3"]:
    """The shape alone, on white: grey, lit from the camera's side and from above."""
    assert view.normal is not None
    lamp = F.normalize(view.camera.c2w[:, :3, 2] + view.normal.new_tensor([0.0, 0.0, 1.0]), dim=-1)
    shade = 0.25 + 0.65 * (view.normal * lamp[:, None, None]).sum(-1, keepdim=True).clamp(min=0)
    return (shade * view.alpha + 1 - view.alpha).expand(-1, -1, -1, 3)
