"""Which words tell a text prior where the camera stands: front, side, back, overhead.

`Words` chooses one (DreamFusion, section 3.2). `Perpendicular` goes over from one to the next with the
azimuth, and names what is to be pushed away, by how much (Perp-Neg, Armandpour et al. 2023; the numbers are
stable-dreamfusion's, which threestudio kept).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from threestudio_like.ops.camera import spherical
from threestudio_like.records import Camera

VIEWS = ("front", "side", "back", "overhead")


class Told(NamedTuple):
    """Of one camera: texts whose embeddings are mixed in these shares, and texts with their pushes."""

    shown: dict[str, float]
    negatives: list[tuple[str, float]]


class Words:
    """A prompt with one of four words.

    Args:
        form: with `{prompt}` and `{view}` in it, which is front, side, back or overhead.
        front, back: half the angles of azimuth that count as such, degrees; azimuth 0 is the front.
        overhead: elevation from which it is overhead, degrees.
    """

    num_negatives = 0

    def __init__(self, *, form: str, front: float | int, back: float | int, overhead: float | int) -> None:
        if "{prompt}" not in form or "{view}" not in form:
            raise ValueError(f"form: needs {{prompt}} and {{view}} in it, not {form!r}")
        self.form = form
        self.front, self.back, self.overhead = float(front), float(back), float(overhead)

    def texts(self, prompt: str) -> list[str]:
        """Every text that a camera may get."""
        return [self.text(prompt, view) for view in VIEWS]

    def text(self, prompt: str, view: str) -> str:
        """The prompt with a word; the word alone where there is no prompt."""
        said = self.form.replace("{view}", view).replace("{prompt}", prompt)
        return said if prompt else said.strip(" ,")

    def __call__(self, prompts: list[str], camera: Camera) -> list[Told]:
        """For each prompt and camera."""
        azimuth, elevation, _ = spherical(camera)
        angles = zip(azimuth.rad2deg().tolist(), elevation.rad2deg().tolist(), strict=True)
        return [self.told(prompt, *pair) for prompt, pair in zip(prompts, angles, strict=True)]

    def told(self, prompt: str, azimuth: float, elevation: float) -> Told:
        """Of one camera; degrees, azimuth between -180 and 180."""
        return Told({self.text(prompt, self.view(azimuth, elevation)): 1.0}, [])

    def view(self, azimuth: float, elevation: float) -> str:
        """Its word."""
        if elevation > self.overhead:
            return "overhead"
        if abs(azimuth) <= self.front:
            return "front"
        return "back" if abs(azimuth) >= 180 - self.back else "side"


class Perpendicular(Words):
    """From front over side to back, and two neighbours to push away; front and back angles do not matter."""

    num_negatives = 2

    def told(self, prompt: str, azimuth: float, elevation: float) -> Told:
        """Of one camera; degrees. From overhead nothing is pushed away."""
        front, side, back, overhead = self.texts(prompt)
        if elevation > self.overhead:
            return Told({overhead: 1.0}, [(front, 0.0), (side, 0.0)])
        turn = abs(azimuth) / 90
        if turn < 1:
            r = 1 - turn
            pushes = [(front, push(r, 4.0, -2.426)), (side, push(1 - r, 4.0, -2.426))]
            return Told({front: r, side: 1 - r}, pushes)
        r = 2 - turn
        return Told({side: r, back: 1 - r}, [(side, push(r, 1.0, -0.606)), (front, push(r, 1.0, 0.967))])


def push(share: float, scale: float, offset: float) -> float:
    """scale exp(-share / 2) + offset: the nearer the view, the less."""
    return scale * math.exp(-0.5 * share) + offset
