"""Novel views of one picture (Zero-1-to-3, Liu et al. 2023, section 3.2): a view prior sampled all around.

Each view is a sample of its own; nothing makes them agree, and sweep.json says how much they do. Where the
picture is rendered from a mesh they are compared with the true views.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from systems.base import mixed
from systems.denoise import Evaluation, sampled
from systems.observe import Observe
from threestudio_like.data.draw import draw
from threestudio_like.export.turntable import write_video
from threestudio_like.loggers.images import column, row, show
from threestudio_like.metrics.image import compared, psnr
from threestudio_like.metrics.sweep import hull_iou, neighbour_psnr
from threestudio_like.ops.camera import around, orbit, resized, spherical, split
from threestudio_like.priors.base import Borrower, Prior
from threestudio_like.ranges import Cells, Count, Latitude, Positive, Seed
from threestudio_like.records import Batch, Camera

Pictures = Float[Tensor, "N H W 4"]


class Ring(NamedTuple):
    """Where views are asked for: evenly around, the first at the picture's own azimuth.

    elevation: degrees; null for the picture's own. batch: views sampled at once.
    one_noise: all views begin from the same noise, or each from its own.
    """

    views: Count
    elevation: Latitude | None
    batch: Count
    one_noise: bool


class Display(NamedTuple):
    """columns: of the sheet; enlarged: pixels that show one, even; fps: of the video."""

    columns: Count
    enlarged: Count
    fps: Count


class Ruler(NamedTuple):
    """Of the visual hull: half the side of the box around it, world units, and cells a side."""

    reach: Positive
    resolution: Cells


class Sweep(Observe):
    """One step: sample, show, measure. Leaves a sheet, sweep.mp4 and sweep.json in the stage's folder."""

    def __init__(
        self,
        *,
        prior: Prior,
        evaluation: Evaluation,
        prompt: str,
        ring: Ring,
        display: Display,
        ruler: Ruler,
        seed: Seed,
    ) -> None:
        super().__init__()
        if display.enlarged % 2:
            raise ValueError(f"display.enlarged: a video's sides must be even, not {display.enlarged}")
        self.borrowed = Borrower(prior=prior)  # frozen, not in checkpoints
        self.evaluation, self.prompt, self.seed = evaluation, prompt, seed
        self.ring, self.display, self.ruler = ring, display, ruler
        self.scores: dict[str, float] = {}

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """The whole sweep."""
        torch.manual_seed(mixed(self.seed, batch.step))
        camera = self.cameras(batch.reference.camera)
        samples = self.samples(batch, camera)
        given = self.seen(batch.reference.rgba)
        truth = self.truth(camera)
        self.picture(given, samples, truth)
        each = self.measures(samples, given, truth, camera)
        self.scores = {name: finite_mean(values) for name, values in each.items()}
        self.log_dict(self.scores)
        turns = [360.0 * i / self.ring.views for i in range(self.ring.views)]
        report = {**self.evaluation.card, "mean": self.scores, "azimuth": turns, **plain(each)}
        self.report("sweep.json", report)
        self.tick()

    def cameras(self, reference: Camera) -> Camera:
        """All around, at the ring's elevation."""
        azimuth, elevation, distance = spherical(reference)
        if self.ring.elevation is not None:
            elevation = torch.full_like(elevation, math.radians(self.ring.elevation))
        start = orbit(
            azimuth=azimuth,
            elevation=elevation,
            distance=distance,
            fov_y=reference.fov_y,
            height=reference.height,
            width=reference.width,
        )
        return around(start, self.ring.views, 0.0)

    @torch.no_grad()
    def samples(self, batch: Batch, camera: Camera) -> Pictures:
        """The prior's guess of each view."""
        prior, found = self.borrowed.prior, []
        one = torch.randn(1, *prior.shape)
        for part in split(camera, self.ring.batch):
            count = len(part.c2w)
            condition = prior.condition([self.prompt] * count, part, batch.reference)
            noise = one.repeat(count, 1, 1, 1) if self.ring.one_noise else torch.randn(count, *prior.shape)
            found.append(prior.decode(sampled(prior, self.evaluation, condition, noise.to(self.device))))
        return torch.cat(found)

    def seen(self, pictures: Float[Tensor, "N h w 4"]) -> Pictures:
        """As the prior has them."""
        return self.borrowed.prior.decode(self.borrowed.prior.encode(pictures))

    def truth(self, camera: Camera) -> Pictures | None:
        """The true views; none of a user's picture."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        return None if data.truth is None else self.seen(draw(data.truth, camera, data.light).rgba)

    def measures(
        self, samples: Pictures, given: Float[Tensor, "1 H W 4"], truth: Pictures | None, camera: Camera
    ) -> dict[str, Float[Tensor, " N"]]:
        """Of each view: whether it agrees with the others, and with the truth."""
        camera = resized(camera, *samples.shape[1:3])

        def hull(pictures: Pictures) -> Float[Tensor, " N"]:
            return hull_iou(pictures[..., 3:], camera, **self.ruler._asdict())

        found = {"hull_iou": hull(samples), "neighbour_psnr": neighbour_psnr(samples[..., :3])}
        if truth is not None:
            found |= {f"sample_{name}": values for name, values in compared(samples, truth).items()}
            found["copied_input_psnr"] = psnr(given[..., :3].expand_as(truth[..., :3]), truth[..., :3])
            found["true_hull_iou"] = hull(truth)
            found["true_neighbour_psnr"] = neighbour_psnr(truth[..., :3])
        return found

    def picture(self, given: Float[Tensor, "1 H W 4"], samples: Pictures, truth: Pictures | None) -> None:
        """The sheet: the picture, then the samples in rows, the true views below each; and the video."""
        kinds = [samples] if truth is None else [samples, truth]
        large = [enlarged(each[..., :3], self.display.enlarged) for each in (given, *kinds)]
        parts = zip(*(each.split(self.display.columns) for each in large[1:]), strict=True)
        lines = [padded(row(line), self.display.columns) for part in parts for line in part]
        first = padded(large[0][0], self.display.columns)
        show({"sweep": column([first, *lines])}, 1, self.folder, self.loggers)
        frames = (row([large[0][0], *views]) for views in zip(*large[1:], strict=True))
        write_video(self.folder / "sweep.mp4", frames, self.display.fps)

    def measure(self, data: Any) -> dict[str, float]:
        """What was measured."""
        return self.scores

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A run that was stopped before its report goes on with it."""
        checkpoint["sweep"] = self.scores

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What was measured before."""
        self.scores = checkpoint["sweep"]


def enlarged(pictures: Float[Tensor, "N h w 3"], times: int) -> Float[Tensor, "N H W 3"]:
    """Each pixel as a square of them."""
    return pictures.repeat_interleave(times, 1).repeat_interleave(times, 2).cpu()


def padded(line: Float[Tensor, "H w 3"], columns: int) -> Float[Tensor, "H W 3"]:
    """A row of square pictures, white up to so many of them."""
    height, width, _ = line.shape
    return torch.cat([line, line.new_ones(height, columns * height - width, 3)], dim=1)


def finite_mean(values: Float[Tensor, " N"]) -> float:
    """Equal pictures are infinitely alike, and are left out; infinite if all are."""
    kept = values[torch.isfinite(values)]
    return float(kept.mean()) if len(kept) else math.inf


def plain(each: Mapping[str, Float[Tensor, " N"]]) -> dict[str, list[float]]:
    """To four digits."""
    return {name: [float(f"{value:.4g}") for value in values] for name, values in each.items()}
