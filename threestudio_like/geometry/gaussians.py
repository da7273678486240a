"""3-D Gaussians with a colour of their own, that depends on the direction (Kerbl et al. 2023).

Features are sums of spherical harmonics in the direction from the eye; the material `direct` makes them the
paper's colours. Where no direction is known they are the harmonics' mean over all, that is, the first one.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.geometry import ply
from threestudio_like.geometry.base import Cloud
from threestudio_like.ops import harmonics
from threestudio_like.ops.cloud import ball_spacing, field, spacing
from threestudio_like.ops.isosurface import enclosed, lattice, marching_tets
from threestudio_like.ops.mesh import large_components
from threestudio_like.ranges import Count, Positive, Share, Whole
from threestudio_like.records import Ellipsoids, Mesh

DC = 1 / math.sqrt(4 * math.pi)  # the first harmonic, a constant


class Gaussians(Cloud):
    """As many as it takes: their number changes while they are trained (geometry/densify.py) and at loading.

    Args:
        radius: half the side of the box it lives in.
        num_features: what the material reads; 3 if it is to be written to a file.
        degree: of the harmonics, 0 to 3.
        count: at first, spread over a ball, as large as they are apart, grey.
        ball: the radius of that ball.
        opacity: at first, of each.
        level: `surface` is where the sum of the Gaussians is this.
        min_component: `surface` drops parts with fewer faces than this share of the largest.
    """

    means: nn.Parameter  # [N 3]
    log_scales: nn.Parameter  # [N 3]
    quaternions: nn.Parameter  # [N 4]
    opacity_logits: nn.Parameter  # [N 1]
    base: nn.Parameter  # [N 1 C], the harmonic of degree 0
    rest: nn.Parameter  # [N K - 1 C], those above

    def __init__(
        self,
        *,
        radius: Positive,
        num_features: Count,
        degree: Whole,
        count: Count,
        ball: Positive,
        opacity: Share,
        level: Positive,
        min_component: Share,
    ) -> None:
        super().__init__(radius=radius, num_features=num_features)
        if not 0 <= degree <= harmonics.MAX_DEGREE:
            raise ValueError(f"degree: {degree} is not in 0..{harmonics.MAX_DEGREE}")
        if not 0 < opacity < 1:
            raise ValueError(f"opacity: {opacity} is not between 0 and 1")
        self.degree = degree
        self.opacity = opacity
        self.level = level
        self.min_component = min_component
        inward = ball * torch.rand(count, 1) ** (1 / 3)
        points = nn.functional.normalize(torch.randn(count, 3), dim=-1) * inward
        self.fill(points, torch.zeros(count, num_features), torch.full((count,), ball_spacing(count, ball)))

    def fill(
        self, points: Float[Tensor, "N 3"], features: Float[Tensor, "N C"], scales: Float[Tensor, " N"]
    ) -> None:
        """Begin anew: round Gaussians at `points`, of these features from every side."""
        rest = (self.degree + 1) ** 2 - 1
        logit = math.log(self.opacity / (1 - self.opacity))
        self.means = nn.Parameter(points.clone())
        self.log_scales = nn.Parameter(scales.clamp_min(1e-7).log()[:, None].repeat(1, 3))
        self.quaternions = nn.Parameter(points.new_tensor([1.0, 0.0, 0.0, 0.0]).repeat(len(points), 1))
        self.opacity_logits = nn.Parameter(points.new_full((len(points), 1), logit))
        self.base = nn.Parameter(features[:, None] / DC)
        self.rest = nn.Parameter(features.new_zeros(len(points), rest, self.num_features))

    def place(self, points: Float[Tensor, "N 3"], features: Float[Tensor, "N C"]) -> None:
        """Begin anew at `points` of a surface, as large as they are apart; before an optimiser is made."""
        self.fill(points, features, spacing(points))

    @property
    def count(self) -> int:
        """How many there are now."""
        return len(self.means)

    def ellipsoids(self) -> Ellipsoids:
        """The parameters through their activations."""
        opacities = torch.sigmoid(self.opacity_logits[:, 0])
        return Ellipsoids(self.means, torch.exp(self.log_scales), self.quaternions, opacities)

    def seen(self, directions: Float[Tensor, "B N 3"], degree: int) -> Float[Tensor, "B N C"]:
        """The harmonics' sums up to `degree`."""
        coefficients = torch.cat([self.base, self.rest], dim=1)
        coefficients = coefficients.expand(len(directions), -1, -1, -1)
        return harmonics.evaluate(coefficients, directions, min(degree, self.degree))

    def features(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """Means of the Gaussians' features by their densities at `points`, without gradients.

        0 where there is none.
        """
        density, sums = field(points, self.ellipsoids(), DC * self.base.detach()[:, 0])
        return sums / density.clamp_min(1e-12)[:, None]

    def surface(self, resolution: int) -> Mesh:
        """Where the sum of the Gaussians is the level, by marching tetrahedra; filled, and closed in the box.

        Gaussians are taken to be no thinner than a quarter of a cell, so that none falls between vertices.
        """
        grid = lattice(resolution)
        with torch.no_grad():
            vertices = grid.vertices.to(self.means) * self.radius
            cloud = self.ellipsoids()
            cloud = cloud._replace(scales=cloud.scales.clamp_min(0.5 * self.radius / resolution))
            density, _ = field(vertices, cloud, self.means[:, :0])
            inner = (grid.vertices.abs() < 1).all(-1).to(density.device)
            values = self.level - torch.where(inner, density, 0.0)
            values = torch.where(enclosed(values, grid, 0), -values.abs().clamp_min(1e-6), values)
            vertices, faces = marching_tets(vertices, values, grid)
        if len(faces) == 0:
            raise ValueError(f"the Gaussians have no surface: their sum is nowhere the level {self.level}")
        return Mesh(*large_components(vertices, faces, self.min_component))

    def files(self) -> dict[str, bytes]:
        """The Gaussians themselves."""
        return {"gaussians.ply": self.to_ply()}

    def to_ply(self) -> bytes:
        """A file that viewers read (ply.py); the axes are the house's."""
        if self.num_features != 3:
            raise ValueError(f"a file of Gaussians has 3 features, not {self.num_features}")
        rest = self.rest.transpose(1, 2).flatten(1)
        tables = {
            ("x", "y", "z"): self.means,
            ("nx", "ny", "nz"): torch.zeros_like(self.means),
            numbered("f_dc_", 3): self.base[:, 0],
            numbered("f_rest_", rest.shape[1]): rest,
            ("opacity",): self.opacity_logits,
            numbered("scale_", 3): self.log_scales,
            numbered("rot_", 4): self.quaternions,
        }
        columns = {
            name: column
            for names, table in tables.items()
            for name, column in zip(names, table.unbind(1), strict=True)
        }
        return ply.packed(columns)

    def from_ply(self, content: bytes) -> None:
        """Begin anew as such a file says; before an optimiser is made. A lower degree is filled up with 0."""
        columns = ply.unpacked(content)

        def table(names: tuple[str, ...]) -> Float[Tensor, "N K"]:
            for name in names:
                if name not in columns:
                    raise ValueError(f"a PLY file of Gaussians has a property {name}; this one has not")
            return torch.stack([columns[name] for name in names], dim=-1)

        num_rest = sum(name.startswith("f_rest_") for name in columns)
        wanted = (self.degree + 1) ** 2 - 1
        if self.num_features != 3 or num_rest % 3 or num_rest > 3 * wanted:
            raise ValueError(
                f"a file with {num_rest} f_rest_ properties does not fit Gaussians of degree {self.degree} "
                f"with {self.num_features} features"
            )
        self.means = nn.Parameter(table(("x", "y", "z")))
        self.log_scales = nn.Parameter(table(numbered("scale_", 3)))
        self.quaternions = nn.Parameter(table(numbered("rot_", 4)))
        self.opacity_logits = nn.Parameter(table(("opacity",)))
        self.base = nn.Parameter(table(numbered("f_dc_", 3))[:, None])
        rest = self.means.new_zeros(len(self.means), 3, wanted)
        if num_rest:
            rest[..., : num_rest // 3] = table(numbered("f_rest_", num_rest)).unflatten(1, (3, -1))
        self.rest = nn.Parameter(rest.transpose(1, 2).contiguous())

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Another number of Gaussians is no mismatch; the parameters stay those that an optimiser knows."""
        for name, parameter in self.named_parameters(recurse=False):
            saved = state_dict.get(prefix + name)
            if saved is not None and saved.shape[1:] == parameter.shape[1:]:
                parameter.data = parameter.data.new_empty(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


def numbered(prefix: str, count: int) -> tuple[str, ...]:
    """prefix0, prefix1, ..."""
    return tuple(f"{prefix}{i}" for i in range(count))
