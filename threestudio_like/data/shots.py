"""Pictures of many objects with their depth and normals, under another lamp each time.

rgb = albedo (ambient + (1 - ambient) ((1 + n . l) / 2)^wrap) + gloss (n . h)^32, h half way between lamp and
camera (Blinn 1977).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from threestudio_like.data.album import Album, Cameras, Variety, camera, unpacked
from threestudio_like.data.draw import Light
from threestudio_like.data.views import Augmentation, Source, Views, color_matrices
from threestudio_like.ops.camera import rays
from threestudio_like.ranges import Count, NonNegative, Positives, Seed, Shares, Whole
from threestudio_like.records import Example, View

SHININESS = 32


class Lamps(NamedTuple):
    """Ranges that a picture's light is taken from.

    ambient: the light from everywhere; the rest comes from the lamp. wrap: exponent of the wrapped cosine.
    height: the lamp's, as the sine of its elevation. gloss: of the highlights, at most.
    """

    ambient: Shares
    wrap: Positives
    height: Sequence[float]
    gloss: NonNegative


class Shots(Views):
    """Examples without end, lit as `lamps` say; held-out ones are under `light`.

    The source, cameras, variety, augmentation and sizes are those of `Views`.
    """

    def __init__(
        self,
        *,
        source: Source,
        cameras: Cameras,
        variety: Variety,
        light: Light,
        lamps: Lamps,
        augmentation: Augmentation,
        batch_size: Count,
        validation: Whole,
        seed: Seed,
        cache: str | None,
    ) -> None:
        super().__init__(
            source=source,
            cameras=cameras,
            variety=variety,
            light=None,
            favour=1,
            augmentation=augmentation,
            references=False,
            batch_size=batch_size,
            validation=validation,
            seed=seed,
            cache=cache,
        )
        self.lamps, self.still = lamps, light

    def _example(
        self, rng: np.random.Generator, step: int, book: Album, count: int, augmentation: Augmentation
    ) -> Example:
        index = book.rows[rng.integers(len(book.rows), size=count)]
        which = rng.integers(book.poses.shape[1], size=count)
        pose = torch.from_numpy(book.poses[index, which])
        view = unpacked(book.pictures[index, which], camera(pose, self.cameras))
        view = mirrored(view, torch.from_numpy(rng.random(count) < 0.5) & augmentation.mirror)
        lit = shaded(view, rng, self.lamps) if augmentation.color else plainly(view, self.still)
        matrix = color_matrices(rng, count, augmentation.color)
        target = lit._replace(rgb=torch.einsum("bhwi,bij->bhwj", lit.rgb, matrix).clamp(0, 1))
        return Example(step, [book.names[i] for i in index], target, None)


def mirrored(view: View, flipped: Bool[Tensor, " B"]) -> View:
    """Pictures of the mirrored objects (y is -y), from mirrored cameras, where `flipped`."""
    assert view.depth is not None and view.normal is not None
    flip = flipped[:, None, None, None]
    rgb, alpha, depth, normal = (
        torch.where(flip, part.flip(2), part) for part in (view.rgb, view.alpha, view.depth, view.normal)
    )
    normal = torch.where(flip, normal * torch.tensor([1.0, -1.0, 1.0]), normal)
    # M R S: the world's y is negated, and the camera's x, so that its axes stay right-handed
    sign = torch.tensor([[-1.0, 1, 1, 1], [1, -1, -1, -1], [-1, 1, 1, 1], [1, 1, 1, 1]])
    c2w = torch.where(flipped[:, None, None], view.camera.c2w * sign, view.camera.c2w)
    return View(view.camera._replace(c2w=c2w), rgb, alpha, depth, normal)


def shaded(view: View, rng: np.random.Generator, lamps: Lamps) -> View:
    """Each picture under a lamp of its own."""

    def drawn(low: float, high: float) -> Float[Tensor, "B 1 1 1"]:
        return torch.from_numpy(rng.uniform(low, high, (len(view.rgb), 1, 1, 1))).float()

    assert view.normal is not None
    ambient, wrap, height = drawn(*lamps.ambient), drawn(*lamps.wrap), drawn(*lamps.height)
    azimuth, gloss = drawn(-np.pi, np.pi), drawn(-lamps.gloss, lamps.gloss).clamp(min=0)
    flat = torch.sqrt(1 - height.square())
    lamp = torch.cat([flat * torch.cos(azimuth), flat * torch.sin(azimuth), height], dim=-1)
    half = F.normalize(lamp - rays(view.camera).directions, dim=-1)
    shine = (view.normal * half).sum(-1, keepdim=True).clamp(min=0) ** SHININESS
    cosine = (view.normal * lamp).sum(-1, keepdim=True)
    shade = ambient + (1 - ambient) * ((1 + cosine) / 2).clamp(min=0) ** wrap
    return view._replace(rgb=(view.rgb * shade + gloss * shine).clamp(0, 1))


def plainly(view: View, light: Light) -> View:
    """All pictures under one light (draw.py)."""
    assert view.normal is not None
    lamp = F.normalize(torch.tensor(list(light.direction)), dim=0)
    shade = light.ambient + light.diffuse * (1 + (view.normal @ lamp)[..., None]) / 2
    return view._replace(rgb=(view.rgb * shade).clamp(0, 1))
