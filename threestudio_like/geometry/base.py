"""What every geometry can do: say what its points carry, and show its surface as a mesh."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.records import Ellipsoids, Mesh


class Geometry(nn.Module):
    """Where the surface is. It lives in the box [-radius, radius]^3 and does not know it is rendered."""

    def __init__(self, *, radius: float, num_features: int) -> None:
        super().__init__()
        self.radius = radius
        self.num_features = num_features

    def features(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """What the material reads at `points`; C = num_features, any real values."""
        raise NotImplementedError

    def surface(self, resolution: int) -> Mesh:
        """The surface as a closed mesh, outward faces, detached; `resolution` cells a side if sampled."""
        raise NotImplementedError

    def files(self) -> dict[str, bytes]:
        """What it is saved as besides a mesh: names of files, and what is in them."""
        return {}


class Implicit(Geometry):
    """A surface that is the zero set of a field: what volume renderers take."""

    def sdf(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 1"]:
        """Signed distance, negative inside."""
        raise NotImplementedError

    def gradient(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """Of the signed distance, in world units (unit length where the field is a true distance)."""
        raise NotImplementedError

    def evaluate(
        self, points: Float[Tensor, "N 3"]
    ) -> tuple[Float[Tensor, "N 1"], Float[Tensor, "N C"], Float[Tensor, "N 3"]]:
        """(sdf, features, gradient) of the same points: what the three say, for less."""
        return self.sdf(points), self.features(points), self.gradient(points)

    def normals(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """Unit, outward."""
        return F.normalize(self.gradient(points), dim=-1)


class Volume(Geometry):
    """A fog, thick where the object is: what volume renderers of density take."""

    def density(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 1"]:
        """How much of the light a unit of length takes: at least 0."""
        raise NotImplementedError

    def evaluate(
        self, points: Float[Tensor, "N 3"], *, gradients: bool
    ) -> tuple[Float[Tensor, "N 1"], Float[Tensor, "N C"], Float[Tensor, "N 3"] | None]:
        """(density, features, gradient) of the same points; the gradient, if asked for, points into the fog.

        Its length may be that of any increasing function of the density: normals need its direction alone.
        """
        raise NotImplementedError

    def normals(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """Unit, out of the fog; 0 where it is even."""
        gradients = self.evaluate(points, gradients=True)[2]
        assert gradients is not None
        return -F.normalize(gradients, dim=-1)


class Explicit(Geometry):
    """A surface that is a mesh: what mesh renderers take."""

    def mesh(self) -> Mesh:
        """The surface now, with gradients to the parameters."""
        raise NotImplementedError


class Cloud(Geometry):
    """A surface that many Gaussians cover: what splat renderers take."""

    def ellipsoids(self) -> Ellipsoids:
        """The Gaussians now, with gradients to the parameters."""
        raise NotImplementedError

    def seen(self, directions: Float[Tensor, "B N 3"], degree: int) -> Float[Tensor, "B N C"]:
        """What the material reads of each Gaussian, looked at along unit `directions`, up to this degree."""
        raise NotImplementedError
