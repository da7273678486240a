"""Judges an editing prior (InstructPix2Pix, Brooks et al. 2023, section 4): what each of two guidances does.

Nothing is trained: each step samples one batch of held-out edits at every scale, from the same noise, and
keeps the scores with the checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from systems.base import mixed
from systems.denoise import Evaluation, dual, sampled
from systems.observe import Observe
from threestudio_like.data.edit_trials import Question
from threestudio_like.loggers.images import column, row
from threestudio_like.metrics import edit
from threestudio_like.metrics.edit import EditScore
from threestudio_like.metrics.image import psnr
from threestudio_like.metrics.paired import Estimate
from threestudio_like.priors.base import Borrower, Prior
from threestudio_like.ranges import Seed

log = logging.getLogger(__name__)
SHOWN, ENLARGED = 12, 3  # columns of a sheet; pixels that show one


class EditGate(Observe):
    """Leaves gate.json, a sheet of pictures for each task, and the tables in the log.

    evaluation: how it is sampled; its cfg, Dual, says where one scale stays while the other is varied.
    image_scales, text_scales: what they are varied over.
    """

    def __init__(
        self,
        *,
        prior: Prior,
        evaluation: Evaluation,
        image_scales: Sequence[int | float],
        text_scales: Sequence[int | float],
        seed: Seed,
    ) -> None:
        super().__init__()
        self.borrowed = Borrower(prior=prior)  # frozen, not in checkpoints
        self.evaluation, self.seed = evaluation, seed
        self.cfg = dual(evaluation)
        here = (float(self.cfg.image_scale), float(self.cfg.text_scale))
        along = [(float(s), here[1]) for s in image_scales] + [(here[0], float(s)) for s in text_scales]
        self.here, self.scales = here, sorted({here, *along})
        self.answers: list[EditScore] = []

    @torch.no_grad()
    def training_step(self, question: Question, batch_idx: int) -> None:
        """Answer at every scale, keep the scores, show some."""
        torch.manual_seed(mixed(self.seed, question.step))
        prior = self.borrowed.prior
        before, after = (prior.decode(prior.encode(v.rgba)) for v in (question.before, question.after))
        noise = torch.randn(len(after), *prior.shape).to(self.device)
        rows = [before, after]
        for scales in self.scales:
            samples = self.answered(question, scales, noise)
            self.judge(question, scales, samples, before, after)
            rows += [samples] if scales[0] == self.here[0] else []
        sheet = column([row(each[:SHOWN, ..., :3]) for each in rows])
        self.show("sheet", sheet, question.step, ENLARGED)
        words = ", ".join(question.instructions[:SHOWN])
        log.info("task %d, on the sheet: %s", question.step + 1, words)
        self.log_dict(dict(numbers(edit.summary(self.answers, *self.here))))
        self.tick()

    def answered(
        self, question: Question, scales: tuple[float, float], noise: Float[Tensor, "B C h w"]
    ) -> Float[Tensor, "B H W 4"]:
        """Samples at these scales."""
        prior = self.borrowed.prior
        condition = prior.condition(question.instructions, question.before.camera, question.before)
        evaluation = self.evaluation._replace(cfg=self.cfg.at(*scales))
        return prior.decode(sampled(prior, evaluation, condition, noise))

    def judge(
        self,
        question: Question,
        scales: tuple[float, float],
        samples: Float[Tensor, "B H W 4"],
        before: Float[Tensor, "B H W 4"],
        after: Float[Tensor, "B H W 4"],
    ) -> None:
        """Every sample's scores."""
        prior, untouched = self.borrowed.prior, ~edit.touched(before, after)
        whole = psnr(samples[..., :3], after[..., :3]).clamp(max=edit.EQUAL)
        for i, sample in enumerate(samples):
            others = torch.cat([before[i, None], prior.decode(prior.encode(question.rivals[i]))])
            scores = {
                "accuracy": float(edit.nearest_is_true(sample, after[i], others)),
                "untouched_psnr": edit.psnr_where(sample[..., :3], after[i, ..., :3], untouched[i]),
                "psnr": float(whole[i]),
            }
            self.answers.append(EditScore(question.names[i], question.kinds[i], *scales, scores))

    def on_fit_end(self) -> None:
        """The tables, when all tasks are done."""
        if self.trainer.global_step < self.trainer.max_steps:
            return
        found = edit.summary(self.answers, *self.here)
        for line in edit.lines(found):
            log.info("%s", line)
        self.report("gate.json", {**self.evaluation.card, **dict(numbers(found))})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Plain values only."""
        checkpoint["answers"] = [tuple(answer) for answer in self.answers]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What was answered before."""
        self.answers = [EditScore(*values) for values in checkpoint["answers"]]


def numbers(tree: dict[str, Any], key: str = "") -> list[tuple[str, float]]:
    """Every number with its path, to four digits."""
    found: list[tuple[str, float]] = []
    for name, value in tree.items():
        if isinstance(value, dict):
            found += numbers(value, f"{key}{name}/")
        else:
            mean = value.mean if isinstance(value, Estimate) else float(value)
            found.append((f"{key}{name}", float(f"{mean:.4g}")))
    return found
