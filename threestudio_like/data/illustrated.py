"""Views of objects, and among them named pictures without a mesh: for priors that are told words alone."""

from __future__ import annotations

import numpy as np
import torch

from threestudio_like.data.album import Album, Cameras, Variety
from threestudio_like.data.draw import Light
from threestudio_like.data.emoji import Emoji
from threestudio_like.data.views import Augmentation, Source, Views
from threestudio_like.records import Camera, Example, View


class Illustrated(Views):
    """As Views, with `share` of each batch from `pictures`, split by name in the same way.

    retouching: what is changed of pictures; where names tell colours and sides, nothing.
    """

    def __init__(
        self,
        *,
        source: Source,
        pictures: Emoji,
        share: float,
        retouching: Augmentation,
        cameras: Cameras,
        variety: Variety,
        light: Light | None,
        favour: int,
        augmentation: Augmentation,
        references: bool,
        batch_size: int,
        validation: int,
        seed: int,
        cache: str | None,
    ) -> None:
        super().__init__(
            source=source,
            cameras=cameras,
            variety=variety,
            light=light,
            favour=favour,
            augmentation=augmentation,
            references=references,
            batch_size=batch_size,
            validation=validation,
            seed=seed,
            cache=cache,
        )
        self.count = round(share * batch_size)
        if not 0 < self.count < batch_size:
            raise ValueError(f"share: {share:g} of {batch_size} examples leaves one side none; give 0 to 1")
        self.named, self.retouching = pictures, retouching  # `pictures` would be what a scene is made from
        self.books: tuple[Album, Album] | None = None

    def prepare_data(self) -> None:
        """Both, once."""
        super().prepare_data()
        self.named.albums(self.cameras)

    def setup(self, stage: str) -> None:
        """Open both."""
        super().setup(stage)
        if self.books is None:
            self.books = self.named.albums(self.cameras)

    def example(self, step: int, rank: int) -> Example:
        """What training sees at `step`: objects, then pictures."""
        assert self.training is not None and self.books is not None
        rng = np.random.default_rng([self.seed, step, rank])
        many = self.batch_size - self.count
        objects = self._example(rng, step, self.training, many, self.augmentation)
        return joined(objects, self._example(rng, step, self.books[0], self.count, self.retouching))

    def validation_examples(self) -> list[Example]:
        """Each batch of held-out objects has its share of held-out pictures in the place of the last ones."""
        assert self.books is not None
        still, rng = Augmentation(color=0.0, mirror=False), np.random.default_rng([self.seed, 1])
        found = []
        for example in super().validation_examples():
            count = max(1, round(len(example.prompts) * self.count / self.batch_size))
            pictures = self._example(rng, example.step, self.books[1], count, still)
            found.append(joined(first(example, len(example.prompts) - count), pictures))
        return found


def first(example: Example, count: int) -> Example:
    """The first examples of a batch."""

    def cut(view: View) -> View:
        camera = view.camera._replace(c2w=view.camera.c2w[:count], fov_y=view.camera.fov_y[:count])
        return View(camera, view.rgb[:count], view.alpha[:count])

    reference = None if example.reference is None else cut(example.reference)
    return Example(example.step, example.prompts[:count], cut(example.target), reference)


def joined(one: Example, other: Example) -> Example:
    """One batch after the other."""

    def both(a: View, b: View) -> View:
        c2w, fov_y = (torch.cat(pair) for pair in zip(a.camera[:2], b.camera[:2], strict=True))
        camera = Camera(c2w, fov_y, a.camera.height, a.camera.width)
        return View(camera, torch.cat([a.rgb, b.rgb]), torch.cat([a.alpha, b.alpha]))

    reference = None
    if one.reference is not None and other.reference is not None:
        reference = both(one.reference, other.reference)
    return Example(one.step, one.prompts + other.prompts, both(one.target, other.target), reference)
