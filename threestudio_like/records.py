"""The records that travel between floors, and the legend of axes and frames.

Axes:   B views, H W picture rows and columns, N points or rays, S samples along a ray,
        V vertices, F faces, C channels.
World:  right-handed, z up; an object sits in the box [-radius, radius]^3 around the origin.
        Azimuth 0 is on +x (the front), counter-clockwise seen from above; elevation is up.
        Radians inside; degrees only at the user's edge.
Camera: OpenGL axes (x right, y up, looks along -z); row 0 of a picture is its top.
Images: float in [0, 1], channels last, straight alpha.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Camera(NamedTuple):
    """B pinhole cameras that share one picture size."""

    c2w: Float[Tensor, "B 4 4"]  # camera to world
    fov_y: Float[Tensor, " B"]  # vertical field of view, radians
    height: int
    width: int
    shift: Float[Tensor, "B 2"] | None = None  # principal point from the middle, pixels: x right, y down


class Rays(NamedTuple):
    """One ray for each pixel; `directions` are of unit length."""

    origins: Float[Tensor, "*pixels 3"]
    directions: Float[Tensor, "*pixels 3"]


class View(NamedTuple):
    """Pictures and the cameras that took them."""

    camera: Camera
    rgb: Float[Tensor, "B H W 3"]  # straight: not multiplied by alpha
    alpha: Float[Tensor, "B H W 1"]
    depth: Float[Tensor, "B H W 1"] | None = None  # along the viewing axis; 0 outside
    normal: Float[Tensor, "B H W 3"] | None = None  # world frame, unit; 0 outside

    @property
    def rgba(self) -> Float[Tensor, "B H W 4"]:
        """The picture over white, with its alpha: what every prior is shown."""
        return torch.cat([self.rgb * self.alpha + 1.0 - self.alpha, self.alpha], dim=-1)


class Batch(NamedTuple):
    """What a system that makes a scene sees in one step."""

    step: int
    camera: Camera  # random cameras, for guidance
    reference: View  # the user's picture


class Posed(NamedTuple):
    """What a system that fits a scene to posed pictures sees in one step."""

    step: int
    view: View  # what to fit: pictures, or windows of them
    unseen: View  # whole pictures that are never fitted, to look at


class Example(NamedTuple):
    """What a system that trains a network on pictures of objects sees in one step."""

    step: int
    prompts: list[str]  # B captions
    target: View  # the pictures to denoise, or to tell depth and normals of
    reference: View | None  # the same objects seen by other cameras


class Samples(NamedTuple):
    """What a volume renderer met, the S samples that count, in the order of their rays; losses read it."""

    sdf: Float[Tensor, " S"] | None  # where the field is one of signed distances
    weights: Float[Tensor, " S"]  # of the volume-rendering sum
    distances: Float[Tensor, " S"]  # along the ray, to the middle of the interval
    gradients: Float[Tensor, "S 3"]  # of the field, outward: eikonal and orientation losses
    directions: Float[Tensor, "S 3"]  # of the sample's ray
    rays: Int[Tensor, " S"]  # which ray, of the B H W pixels in a row
    points: Float[Tensor, "S 3"]  # where


class Ellipsoids(NamedTuple):
    """N Gaussians in the world, each of a covariance whose axes are turned by a quaternion."""

    means: Float[Tensor, "N 3"]
    scales: Float[Tensor, "N 3"]  # standard deviations along its own axes
    quaternions: Float[Tensor, "N 4"]  # (w, x, y, z) of any length: from its own axes to the world's
    opacities: Float[Tensor, " N"]  # at the mean


class Footprints(NamedTuple):
    """Where N Gaussians fall in B pictures; pixels: x right, y down, the first one's middle at (.5, .5)."""

    centers: Float[Tensor, "B N 2"]
    conics: Float[Tensor, "B N 3"]  # inverse covariance: xx, xy, yy
    depths: Float[Tensor, "B N"]  # along the viewing axis
    spreads: Float[Tensor, "B N 2"]  # standard deviations along x and y; 0 where it cannot be seen


class Mesh(NamedTuple):
    """Triangles, wound outward (signed volume > 0); colour by vertex or by texture."""

    vertices: Float[Tensor, "V 3"]
    faces: Int[Tensor, "F 3"]
    rgb: Float[Tensor, "V 3"] | None = None  # colour at the vertices
    uv: Float[Tensor, "T 2"] | None = None  # u to the right, v up: (0, 0) is the bottom left corner
    uv_faces: Int[Tensor, "F 3"] | None = None
    texture: Float[Tensor, "H W 3"] | None = None
    normal_map: Float[Tensor, "h w 3"] | None = None  # in tangent space (ops/tangents.py)


class Render(NamedTuple):
    """What a renderer returns for B cameras."""

    rgb: Float[Tensor, "B H W 3"]  # over the background
    alpha: Float[Tensor, "B H W 1"]
    depth: Float[Tensor, "B H W 1"]  # along the viewing axis, of what is hit; 0 where nothing is
    normal: Float[Tensor, "B H W 3"]  # world frame, unit; 0 where nothing is
    samples: Samples | None = None  # volume renderers
    mesh: Mesh | None = None  # mesh renderers
    footprints: Footprints | None = None  # splat renderers; `centers` keeps its gradient

    @property
    def rgba(self) -> Float[Tensor, "B H W 4"]:
        """Colour over the background, with alpha: what guidance takes."""
        return torch.cat([self.rgb, self.alpha], dim=-1)

    @property
    def normal_rgba(self) -> Float[Tensor, "B H W 4"]:
        """The normals as colours over white, with alpha: for guidance by shape."""
        return torch.cat([(self.normal + 1) / 2 * self.alpha + 1 - self.alpha, self.alpha], dim=-1)
