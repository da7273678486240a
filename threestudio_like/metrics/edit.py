"""How well pictures are edited: whether the asked attribute has come out, and what became of the rest.

An edit has come out where the picture is nearer to the true one than to the picture before and to what every
other value of the attribute would have made: a classifier that needs no training. Untouched pixels are those
that are the same before and after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from threestudio_like import markdown
from threestudio_like.metrics.paired import Estimate, estimated

SAME = 0.01  # of a pixel's range: below it nothing has changed
EQUAL = 60.0  # dB: nearer than this is the same
MEASURES = ("accuracy", "untouched_psnr", "psnr")


class EditScore(NamedTuple):
    """One answer at one pair of guidance scales: scores[measure]."""

    name: str
    kind: str
    image_scale: float
    text_scale: float
    scores: Mapping[str, float]


def touched(before: Float[Tensor, "B H W C"], after: Float[Tensor, "B H W C"]) -> Bool[Tensor, "B H W"]:
    """The pixels that an edit changes."""
    return (before - after).abs().amax(-1) > SAME


def nearest_is_true(
    sample: Float[Tensor, "H W C"], true: Float[Tensor, "H W C"], others: Float[Tensor, "K H W C"]
) -> bool:
    """Whether the true picture is the nearest, in squared distance."""
    own = (sample - true).square().sum()
    return bool(((sample - others).square().sum(dim=(1, 2, 3)) > own).all())


def psnr_where(
    sample: Float[Tensor, "H W C"], true: Float[Tensor, "H W C"], where: Bool[Tensor, "H W"]
) -> float:
    """PSNR over some of the pixels, dB; at most that of equal ones."""
    if not where.any():
        return EQUAL
    error = (sample - true)[where].square().mean()
    return min(EQUAL, float(-10 * torch.log10(error.clamp(min=1e-12))))


def summary(answers: list[EditScore], image_scale: float, text_scale: float) -> dict[str, Any]:
    """Along each scale with the other as configured, and there by kinds of edit.

    `monotone`: whether the measure that a scale is for never falls as it rises.
    """
    lines: dict[str, Any] = {}
    for scale, other, fixed, asked in (
        ("text_scale", "image_scale", image_scale, "accuracy"),
        ("image_scale", "text_scale", text_scale, "untouched_psnr"),
    ):
        rows = [answer for answer in answers if getattr(answer, other) == fixed]
        levels = sorted({getattr(row, scale) for row in rows})
        means = {f"{v:g}": levelled([r for r in rows if getattr(r, scale) == v]) for v in levels}
        course = [mean[asked].mean for mean in means.values()]
        lines[scale] = {"at": fixed, "means": means, "monotone": course == sorted(course)}
    here = [a for a in answers if (a.image_scale, a.text_scale) == (image_scale, text_scale)]
    kinds = {kind: levelled([a for a in here if a.kind == kind]) for kind in sorted({a.kind for a in here})}
    return {"edits": len(here), **lines, "kinds": kinds}


def levelled(rows: list[EditScore]) -> dict[str, Estimate]:
    """Mean of every measure."""
    return {m: estimated((row.name, row.scores[m]) for row in rows) for m in MEASURES}


def lines(found: Mapping[str, Any]) -> list[str]:
    """Markdown: a table for each scale, and one by kinds."""
    text = [f"{found['edits']} edits of held-out names, each at every scale"]
    for scale, other in (("text_scale", "image_scale"), ("image_scale", "text_scale")):
        part = found[scale]
        said = "never falls" if part["monotone"] else "falls somewhere"
        asked = "accuracy" if scale == "text_scale" else "untouched_psnr"
        text += ["", f"{other} {part['at']:g}: with {scale}, {asked} {said}", ""]
        text += markdown.table([scale, *MEASURES], rows_of(part["means"])).splitlines()
    return [*text, "", *markdown.table(["kind", *MEASURES], rows_of(found["kinds"])).splitlines()]


def rows_of(means: Mapping[str, Mapping[str, Estimate]]) -> list[list[str]]:
    """A line for each."""
    return [[name, *(str(each[m]) for m in MEASURES)] for name, each in means.items()]
