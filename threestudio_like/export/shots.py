"""Pictures of a cloud of Gaussians from all around, to paint its surface with.

A cloud has colours only where rays end in it: what is inside was never seen, so its colours there are any.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F

from threestudio_like.geometry.base import Cloud
from threestudio_like.ops.camera import orbit, split
from threestudio_like.ops.splat import blend, project
from threestudio_like.records import Camera, View
from threestudio_like.scene import Scene

FOV = 40.0  # degrees
SIDE = 512  # pixels
NEAR = 0.01
DEGREE = 3  # of the harmonics, at most


@torch.no_grad()
def shots(scene: Scene, reach: float) -> View:
    """Straight colour and alpha from 26 directions, to the faces, edges and corners of a cube.

    reach: how far from the origin the surface goes.
    """
    assert isinstance(scene.geometry, Cloud)
    cloud = scene.geometry.ellipsoids()
    camera = everywhere(reach)
    views = []
    for one in split(camera, 1):
        prints = project(cloud.means, cloud.scales, cloud.quaternions, one, NEAR)
        directions = F.normalize(cloud.means - one.c2w[:, None, :3, 3], dim=-1)
        features = scene.geometry.seen(directions, DEGREE)[0]
        colors = scene.material(features, None, directions[0])[None]
        sums, alpha = blend(prints, cloud.opacities, colors, SIDE, SIDE)
        views.append((sums / alpha.clamp_min(1e-8), alpha))
    rgb, alpha = (torch.cat(part) for part in zip(*views, strict=True))
    return View(camera, rgb, alpha)


def everywhere(reach: float) -> Camera:
    """Cameras whose pictures a ball around the origin just fits in."""
    corners = [place for place in itertools.product((-1, 0, 1), repeat=3) if any(place)]
    x, y, z = F.normalize(torch.tensor(corners, dtype=torch.float32), dim=-1).unbind(-1)
    half = math.radians(FOV / 2)
    return orbit(
        azimuth=torch.atan2(y, x),
        elevation=torch.asin(z),
        distance=torch.full_like(x, reach / math.sin(half)),
        fov_y=torch.full_like(x, 2 * half),
        height=SIDE,
        width=SIDE,
    )
