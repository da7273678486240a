"""What a text prior sees in words: pictures with alpha, each of which `image=` takes.

So words alone become an object in two runs, as in DreamCraft3D (section 3): a picture, then its object.
"""

from __future__ import annotations

import logging

import torch

from systems.base import mixed
from systems.denoise import Evaluation, sampled
from systems.observe import Observe
from threestudio_like.data.wish import Wish
from threestudio_like.export.turntable import shrunk, write_png
from threestudio_like.loggers.images import row
from threestudio_like.priors.base import Borrower, Prior
from threestudio_like.ranges import Count, Seed, Side

log = logging.getLogger(__name__)


class Sample(Observe):
    """One step. Leaves picture-1.png, picture-2.png, … of `side` pixels, and a sheet of all.

    enlarged: pixels of the sheet that show one of the prior's.
    """

    def __init__(
        self, *, prior: Prior, evaluation: Evaluation, side: Side, enlarged: Count, seed: Seed
    ) -> None:
        super().__init__()
        self.borrowed = Borrower(prior=prior)
        self.evaluation, self.side, self.enlarged, self.seed = evaluation, side, enlarged, seed

    @torch.no_grad()
    def training_step(self, wish: Wish, batch_idx: int) -> None:
        """Sample, write, show."""
        prior = self.borrowed.prior
        torch.manual_seed(mixed(self.seed, wish.step))
        noise = torch.randn(len(wish.prompts), *prior.shape).to(self.device)
        condition = prior.condition(wish.prompts, wish.camera, None)
        rgba = prior.decode(sampled(prior, self.evaluation, condition, noise))
        for number, picture in enumerate(shrunk(rgba, self.side), start=1):
            write_png(self.folder / f"picture-{number}.png", picture)
        log.info('go on with image=%s prompt="%s"', self.folder / "picture-1.png", wish.prompts[0])
        self.show("pictures", row(list(rgba[..., :3])), wish.step, self.enlarged)
        self.tick()
