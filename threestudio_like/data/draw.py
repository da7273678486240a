"""Pictures of a mesh under a light fixed in the world: what the small priors are trained on.

rgb = albedo (ambient + diffuse (1 + n . l) / 2), l the direction to the light: wrapped around (half Lambert:
Mitchell, McTaggart and Green 2006), so that faces turned away from the lamp still differ. Faces are seen from
both sides.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from threestudio_like.ops.mesh import face_normals
from threestudio_like.ops.supersample import averaged, hits
from threestudio_like.ranges import Direction, NonNegative
from threestudio_like.records import Camera, Mesh, View

NEAR, FAR = 0.1, 10.0
OVERSAMPLING = 2  # a side; the pixels' mean then smooths the outline


class Light(NamedTuple):
    """A distant lamp and light from everywhere; white, both."""

    direction: Direction  # from the object towards the lamp, world frame
    ambient: NonNegative
    diffuse: NonNegative


@torch.no_grad()
def draw(mesh: Mesh, camera: Camera, light: Light) -> View:
    """Straight colour, alpha, depth and normal of a mesh with colours at its vertices; no gradients."""
    if mesh.rgb is None:
        raise ValueError("draw: the mesh has no colours at its vertices")
    seen = hits(mesh, camera, OVERSAMPLING, NEAR, FAR)
    # winding in found files cannot be trusted: a face looks towards the camera that sees it
    normal = face_normals(mesh.vertices, mesh.faces)[seen.face]
    towards = camera.c2w[seen.view, :3, 3] - mesh.vertices[mesh.faces[seen.face, 0]]
    normal = torch.where((normal * towards).sum(-1, keepdim=True) < 0, -normal, normal)
    lamp = F.normalize(torch.tensor(list(light.direction)), dim=0)
    shade = light.ambient + light.diffuse * (1 + (normal @ lamp)[:, None]) / 2
    rgb = (seen.interpolated(mesh.rgb, mesh.faces) * shade).clamp(max=1)
    return averaged(camera, seen, rgb, normal)
