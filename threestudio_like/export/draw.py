"""A textured mesh as cameras see it, without light: the base colour alone, which is all the file holds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.ops.camera import world_to_clip
from threestudio_like.ops.mesh import vertex_normals
from threestudio_like.ops.raster import rasterize
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
    view, row, column = (fragments.face >= 0).nonzero(as_tuple=True)
    face, weights = fragments.face[view, row, column], fragments.barycentric[view, row, column]
    weights = torch.cat([weights, 1 - weights.sum(-1, keepdim=True)], dim=-1)
    depth = 2 * FAR * NEAR / (FAR + NEAR - fragments.depth[view, row, column] * (FAR - NEAR))
    normals = vertex_normals(mesh.vertices, mesh.faces)
    seen = torch.cat(
        [
            sample(mesh.texture, mixed(mesh.uv, mesh.uv_faces[face], weights)),
            depth,
            mixed(normals, mesh.faces[face], weights),
            torch.ones_like(depth),
        ],
        dim=-1,
    )
    pixel = (view * camera.height + row // oversampling) * camera.width + column // oversampling
    sums = torch.zeros(len(clip), camera.height, camera.width, 8)
    sums.view(-1, 8).index_add_(0, pixel, seen)
    rgb, depth, normal, count = sums.split([3, 1, 3, 1], dim=-1)
    hits = count.clamp(min=1)
    return View(camera, rgb / hits, count / oversampling**2, depth / hits, F.normalize(normal, dim=-1))


def mixed(
    attributes: Float[Tensor, "V C"], corners: Int[Tensor, "M 3"], weights: Float[Tensor, "M 3"]
) -> Float[Tensor, "M C"]:
    """Barycentric means: `interpolate` of the pixels that are hit alone, a third of a picture or less."""
    a, b, c = (attributes[corners[:, i]] * weights[:, i : i + 1] for i in range(3))
    return a + b + c


def over_white(view: View) -> Float[Tensor, "B H W 3"]:
    """The colours on white."""
    return view.rgba[..., :3]


def clay(view: View) -> Float[Tensor, "B H W 3"]:
    """The shape alone, on white: grey, lit from the camera's side and from above."""
    assert view.normal is not None
    lamp = F.normalize(view.camera.c2w[:, :3, 2] + view.normal.new_tensor([0.0, 0.0, 1.0]), dim=-1)
    shade = 0.25 + 0.65 * (view.normal * lamp[:, None, None]).sum(-1, keepdim=True).clamp(min=0)
    return (shade * view.alpha + 1 - view.alpha).expand(-1, -1, -1, 3)
