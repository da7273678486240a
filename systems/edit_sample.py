"""One picture edited by an instruction (InstructPix2Pix, Brooks et al. 2023, section 3.2.1), at many scales.

What the picture's guidance and the words' do is seen side by side, from the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from systems.base import mixed
from systems.denoise import Evaluation, dual, sampled
from systems.observe import Observe
from threestudio_like.export.turntable import shrunk, write_png
from threestudio_like.loggers.images import column, row
from threestudio_like.priors.base import Borrower, Condition, Prior
from threestudio_like.ranges import Count, Instruction, Seed, Side
from threestudio_like.records import Batch


class EditSample(Observe):
    """One step. Leaves edited.png of `side` pixels, and a sheet: image_scales fall, text_scales go right.

    evaluation: how it is sampled; its cfg, Dual, has the scales of edited.png. enlarged: pixels of the sheet
    that show one of the prior's. The sheet begins with the picture.
    """

    def __init__(
        self,
        *,
        prior: Prior,
        evaluation: Evaluation,
        prompt: Instruction,
        image_scales: Sequence[int | float],
        text_scales: Sequence[int | float],
        side: Side,
        enlarged: Count,
        seed: Seed,
    ) -> None:
        super().__init__()
        for name, scales in {"image_scales": image_scales, "text_scales": text_scales}.items():
            if not scales:
                raise ValueError(f"{name}: needs at least one scale")
        self.borrowed = Borrower(prior=prior)  # frozen, not in checkpoints
        self.evaluation, self.cfg, self.prompt = evaluation, dual(evaluation), prompt
        self.image_scales, self.text_scales = image_scales, text_scales
        self.side, self.enlarged, self.seed = side, enlarged, seed

    @torch.no_grad()
    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Sample at every pair of scales, write, show."""
        prior = self.borrowed.prior
        torch.manual_seed(mixed(self.seed, batch.step))
        noise = torch.randn(1, *prior.shape).to(self.device)
        condition = prior.condition([self.prompt], batch.reference.camera, batch.reference)
        edited = prior.decode(sampled(prior, self.evaluation, condition, noise))
        write_png(self.folder / "edited.png", shrunk(edited, self.side)[0])
        before = prior.decode(prior.encode(batch.reference.rgba))
        lines = [self.line(image_scale, condition, noise) for image_scale in self.image_scales]
        firsts = [before[0, ..., :3], *[torch.ones_like(before[0, ..., :3])] * (len(lines) - 1)]
        sheet = column([row([first, *line]) for first, line in zip(firsts, lines, strict=True)])
        self.show("edits", sheet, batch.step, self.enlarged)
        self.tick()

    def line(
        self, image_scale: float, condition: Condition, noise: Float[Tensor, "1 C h w"]
    ) -> Float[Tensor, "B H W 3"]:
        """Samples at all text_scales."""
        prior, found = self.borrowed.prior, []
        for text_scale in self.text_scales:
            evaluation = self.evaluation._replace(cfg=self.cfg.at(image_scale, text_scale))
            x = sampled(prior, evaluation, condition, noise)
            found.append(prior.decode(x)[..., :3])
        return torch.cat(found)
