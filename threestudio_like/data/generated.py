"""Pairs of pictures that a prior has drawn, in a folder: PNG files, and pairs.json with what they are.

Whoever generates them writes them here; `Generated` gives them to an editing prior, beside the drawn ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from threestudio_like import files
from threestudio_like.data.album import Cameras, camera
from threestudio_like.data.draw import Light
from threestudio_like.data.objects import held_out
from threestudio_like.data.pairs import TRAINED, Pairs
from threestudio_like.data.picture import FORMATS
from threestudio_like.data.views import Source
from threestudio_like.records import Example, View

INDEX = "pairs.json"


class Pair(NamedTuple):
    """Straight colour and alpha, before and after; name: of what is edited; told: what else is known."""

    name: str
    instruction: str
    before: Float[Tensor, "H W 4"]
    after: Float[Tensor, "H W 4"]
    told: Mapping[str, Any]


def write(folder: Path, pairs: list[Pair], first: int) -> list[dict[str, Any]]:
    """The pictures of `pairs`, numbered from `first`; their lines of the index, to be written by `index`."""
    lines = []
    for number, pair in enumerate(pairs, first):
        names = {side: f"{number:06d}-{side}.png" for side in ("before", "after")}
        for side, file in names.items():
            pixels = (getattr(pair, side).clamp(0, 1) * 255).round().byte().cpu().numpy()
            with files.replacing(folder / file) as partial:
                Image.fromarray(pixels).save(partial)
        lines.append({"name": pair.name, "instruction": pair.instruction, **names, **pair.told})
    return lines


def index(folder: Path, lines: list[dict[str, Any]]) -> None:
    """What the folder holds."""
    files.write(folder / INDEX, json.dumps(lines, indent=1) + "\n")


def read(folder: Path) -> list[Pair]:
    """All pairs; ValueError says what is wrong with the folder."""
    file = folder / INDEX
    if not file.is_file():
        raise ValueError(
            f"path: no {INDEX} in {folder}; expected a folder of experiment=pairs/prompt_to_prompt"
        )
    try:
        lines = json.loads(file.read_text())
        return [
            Pair(
                name=str(line["name"]),
                instruction=str(line["instruction"]),
                before=_picture(folder / line["before"]),
                after=_picture(folder / line["after"]),
                told={},
            )
            for line in lines
        ]
    except (ValueError, RecursionError, KeyError, TypeError, OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"path: {file} is damaged, or a picture of it is: {error}") from error


def _picture(file: Path) -> Float[Tensor, "H W 4"]:
    with Image.open(file, formats=FORMATS) as image:
        return torch.from_numpy(np.asarray(image.convert("RGBA")).astype(np.float32) / 255)


class Generated(Pairs):
    """As Pairs, with `generated` of each batch from the folder `path`; validation is of drawn ones alone."""

    def __init__(
        self,
        *,
        path: str,
        generated: float,
        source: Source,
        share: int | float,
        kinds: Mapping[str, int | float],
        cameras: Cameras,
        light: Light,
        views: int,
        batch_size: int,
        validation: int,
        seed: int,
    ) -> None:
        super().__init__(
            source=source,
            share=share,
            kinds=kinds,
            cameras=cameras,
            light=light,
            views=views,
            batch_size=batch_size,
            validation=validation,
            seed=seed,
        )
        self.count = views * round(generated * batch_size / views)
        if not 0 < self.count <= batch_size:
            raise ValueError(
                f"generated: {generated:g} of {batch_size} examples is none of them, or too many"
            )
        found = read(Path(os.path.expanduser(path)))
        self.pairs = [pair for pair in found if not held_out(pair.name)]
        if not self.pairs:
            raise ValueError(f"path: none of the {len(found)} pairs in {path} may be trained on")
        for size in (side for pair in self.pairs for side in (*pair.before.shape[:2], *pair.after.shape[:2])):
            if size != cameras.size:
                raise ValueError(
                    f"cameras.size: must be {size}, as the pictures in {path} are; not {cameras.size}"
                )

    def example(self, step: int, first: int, count: int, *, kept: bool) -> Example:
        """Drawn pairs, and generated ones in the place of the last."""
        drawn = super().example(step, first, count, kept=kept)
        if kept is not TRAINED:
            return drawn
        rng = np.random.default_rng([self.seed, 2, first])
        some = [self.pairs[i] for i in rng.integers(len(self.pairs), size=self.count)]
        assert drawn.reference is not None
        prompts = drawn.prompts[: count - self.count] + [pair.instruction for pair in some]
        after = self.replaced(drawn.target, [pair.after for pair in some])
        before = self.replaced(drawn.reference, [pair.before for pair in some])
        return Example(step, prompts, after, before)

    def replaced(self, view: View, pictures: list[Tensor]) -> View:
        """A view with its last pictures replaced, seen from the front."""
        left = len(view.rgb) - len(pictures)
        pose = [0.0, 0.0, sum(self.cameras.distance) / len(self.cameras.distance)]
        front = camera(torch.tensor([pose] * len(pictures)), self.cameras)
        place = view.camera._replace(
            c2w=torch.cat([view.camera.c2w[:left], front.c2w]),
            fov_y=torch.cat([view.camera.fov_y[:left], front.fov_y]),
        )
        rgb, alpha = torch.stack(pictures).split([3, 1], dim=-1)
        return View(place, torch.cat([view.rgb[:left], rgb]), torch.cat([view.alpha[:left], alpha]))
