"""Geometry in the conditioning: features of one view become a volume, seen again from another camera.

A 2-D network gives each pixel of the source picture a feature at each of D depths; the volume fills the
source camera's frustum, one box of depths [distance - radius, distance + radius]. The target camera's rays
sample it, and the source picture itself; a softmax along each ray says which samples to believe. The relative
camera is exact, so the denoiser cannot ignore it. Depth is along the source's axis; cameras as in records.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.models.resnet import Downsample2D, ResnetBlock2D, Upsample2D
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.ops.camera import rays, resized
from threestudio_like.priors.unet import BLOCK
from threestudio_like.ranges import Count, Positive
from threestudio_like.records import Camera


class Lift(nn.Module):
    """Source pictures -> what the target cameras would see of their features.

    radius: of the ball the object is in.
    width: channels of the 2-D network at the finest level; the coarser levels have 2 and 3 times as many.
    features: channels of the volume; depths: its layers; samples: on each target ray.
    out_channels: of the feature map on the target's grid.
    vector_channels: of the pose embedding.
    """

    def __init__(
        self,
        *,
        channels: Count,
        radius: Positive,
        width: Count,
        groups: Count,
        features: Count,
        depths: Count,
        samples: Count,
        hidden: Count,
        out_channels: Count,
        vector_channels: Count,
    ) -> None:
        super().__init__()
        self.radius, self.depths, self.samples, self.features = radius, depths, samples, features
        self.out_channels = out_channels
        self.encoder = Encoder(
            in_channels=channels * BLOCK**2,
            out_channels=features * depths,
            width=width,
            groups=groups,
            vector_channels=None,
        )
        told = features + channels + 2  # and where on the target's ray, how deep in the source's view
        self.sample = nn.Sequential(nn.Linear(told, hidden), nn.SiLU(), nn.Linear(hidden, hidden + 1))
        self.mix = nn.Conv2d(hidden + channels + 1, width, 3, padding=1)
        self.refine = ResnetBlock2D(in_channels=width, groups=groups, temb_channels=vector_channels)
        self.out = nn.Conv2d(width, out_channels, 3, padding=1)
        self.picture = nn.Conv2d(out_channels, channels * BLOCK**2, 3, padding=1)

    def forward(
        self,
        picture: Float[Tensor, "S C H W"],
        source: Camera,
        target: Camera,
        vector: Float[Tensor, "B V"],
    ) -> Float[Tensor, "B D h w"]:
        """Features on the target's half-size grid; one source (S = 1) serves all targets."""
        height, width = picture.shape[2] // BLOCK, picture.shape[3] // BLOCK
        volume = self.encoder(F.pixel_unshuffle(picture, BLOCK), None).float()
        volume = volume.unflatten(1, (self.features, self.depths))
        points, along = sample_points(resized(target, height, width), self.samples, self.radius)
        places = frustum_coordinates(points.flatten(1, 3), source, self.radius)
        color = bilinear(picture, places[..., :2])
        where = torch.stack([along.expand(points.shape[:4]).flatten(1), places[..., 2]], -1)
        hidden = self.sample(torch.cat([trilinear(volume, places), where, color], -1))
        values = torch.cat([hidden[..., 1:], color], -1).unflatten(1, points.shape[1:4])
        logits = hidden[..., 0].unflatten(1, points.shape[1:4])
        seen = (torch.softmax(logits, dim=3)[..., None] * values).sum(dim=3)
        seen = torch.cat([seen, torch.logsumexp(logits, dim=3)[..., None]], -1).permute(0, 3, 1, 2)
        return self.out(F.silu(self.refine(self.mix(seen), vector)))

    def regressed(self, features: Float[Tensor, "B D h w"]) -> Float[Tensor, "B C H W"]:
        """The target picture as the features alone tell it: the auxiliary task that teaches depth."""
        return F.pixel_shuffle(self.picture(features), BLOCK)


class Encoder(nn.Module):
    """A 2-D U-Net of three levels; `vector_channels`: of a vector that its blocks are told, null for none."""

    def __init__(
        self, *, in_channels: int, out_channels: int, width: int, groups: int, vector_channels: int | None
    ) -> None:
        super().__init__()

        def block(inside: int, outside: int) -> ResnetBlock2D:
            return ResnetBlock2D(
                in_channels=inside,
                out_channels=outside,
                groups=groups,
                temb_channels=vector_channels,  # type: ignore[arg-type]
            )

        self.enter = nn.Conv2d(in_channels, width, 3, padding=1)
        self.fine_down = block(width, width)
        self.to_middle = Downsample2D(width, use_conv=True, out_channels=2 * width, name="op")
        self.middle_down = block(2 * width, 2 * width)
        self.to_coarse = Downsample2D(2 * width, use_conv=True, out_channels=3 * width, name="op")
        self.coarse = nn.ModuleList([nn.ModuleDict({"block": block(3 * width, 3 * width)}) for _ in range(2)])
        self.from_coarse = Upsample2D(3 * width, use_conv=True, out_channels=2 * width)
        self.middle_up = block(4 * width, 2 * width)
        self.from_middle = Upsample2D(2 * width, use_conv=True, out_channels=width)
        self.fine_up = block(2 * width, width)
        self.leave = nn.Conv2d(width, out_channels, 1)

    def forward(
        self, x: Float[Tensor, "B C h w"], vector: Float[Tensor, "B V"] | None
    ) -> Float[Tensor, "B D h w"]:
        """Same grid; its sides must be multiples of four."""
        fine = self.fine_down(self.enter(x), vector)
        middle = self.middle_down(self.to_middle(fine), vector)
        coarse = self.to_coarse(middle)
        for layer in self.coarse:
            coarse = layer["block"](coarse, vector)  # type: ignore[index]
        middle = self.middle_up(torch.cat([self.from_coarse(coarse), middle], 1), vector)
        fine = self.fine_up(torch.cat([self.from_middle(middle), fine], 1), vector)
        return self.leave(F.silu(fine))


def sample_points(
    camera: Camera, count: int, radius: float
) -> tuple[Float[Tensor, "B H W S 3"], Float[Tensor, " S"]]:
    """Points on the cameras' rays where they may meet the ball, and their place along the ray in [-1, 1]."""
    origins, directions = rays(camera)
    along = (torch.arange(count, dtype=origins.dtype, device=origins.device) + 0.5) / count * 2 - 1
    distance = origins.norm(dim=-1, keepdim=True)[..., None, :]
    depth = distance + radius * along[:, None]
    return origins[..., None, :] + depth * directions[..., None, :], along


def frustum_coordinates(
    points: Float[Tensor, "B N 3"], source: Camera, radius: float
) -> Float[Tensor, "B N 3"]:
    """(x, y, depth) in the source camera's frustum, each in [-1, 1] inside: x right, y down."""
    c2w = source.c2w
    local = torch.einsum("bnj,bji->bni", points - c2w[:, None, :3, 3], c2w[:, :3, :3])
    depth = -local[..., 2]
    distance = c2w[:, :3, 3].norm(dim=-1)[:, None]
    tangent = torch.tan(0.5 * source.fov_y)[:, None]
    scale = (depth * tangent).clamp(min=1e-6)
    x = local[..., 0] / scale * (source.height / source.width)
    return torch.stack([x, -local[..., 1] / scale, (depth - distance) / radius], dim=-1)


def bilinear(picture: Float[Tensor, "S C H W"], places: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N C"]:
    """Colours where the points fall in the source picture; that of its edge outside."""
    picture = picture.expand(len(places), *picture.shape[1:])
    found = F.grid_sample(picture, places[:, None], align_corners=False, padding_mode="border")
    return found[:, :, 0].transpose(1, 2)


def trilinear(volume: Float[Tensor, "S C D H W"], places: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N C"]:
    """Interpolate; zero outside. Places are (x, y, depth), the edges of the volume at -1 and 1."""
    volume = volume.expand(len(places), *volume.shape[1:])
    found = F.grid_sample(volume, places[:, None, None], align_corners=False)
    return found[:, :, 0, 0].transpose(1, 2)
