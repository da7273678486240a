"""Judges a text prior (metrics/text_gate.py says what it asks): one step samples names, new ones too.

Nothing is trained. Samples are told the names and cameras of true pictures, which stand beside them.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from systems.base import mixed
from systems.denoise import Evaluation, chosen, sampled
from systems.observe import Observe
from threestudio_like.loggers.images import column, row
from threestudio_like.metrics import text_gate
from threestudio_like.metrics.text_gate import Accuracy, Rules
from threestudio_like.ops import camera
from threestudio_like.priors.base import Borrower, Prior
from threestudio_like.priors.embedding import Embedding
from threestudio_like.records import Example

log = logging.getLogger(__name__)
COLUMNS, ENLARGED = 10, 3  # pictures in a row of the sheet; pixels that show one
Pictures = Float[Tensor, "N H W 4"]


class TextGate(Observe):
    """Leaves gate.json, a sheet of unseen names and the tables in the log.

    embedding: who tells which name a picture shows; null: nobody, and the gate cannot be passed.
    shown: names on the sheet. batch: pictures sampled at once.
    """

    def __init__(
        self,
        *,
        prior: Prior,
        embedding: Embedding | None,
        evaluation: Evaluation,
        rules: Rules,
        shown: int,
        batch: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.borrowed = Borrower(prior=prior)  # frozen, not in checkpoints
        self.reader = (embedding,)  # in a tuple, where nn.Module does not look
        self.evaluation, self.rules, self.seed = evaluation, rules, seed
        self.shown, self.batch = shown, batch
        self.found: dict[str, float] = {}

    def on_fit_start(self) -> None:
        """The embedding is frozen, too."""
        if self.reader[0] is not None:
            self.reader[0].requires_grad_(False).eval().to(self.device)

    @torch.no_grad()
    def training_step(self, batch: Example, batch_idx: int) -> None:
        """Sample, measure, show."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        kept = data.validation_examples()
        if not kept:
            raise ValueError("data.source: no name is held out (one in ten is, by chance); give more objects")
        names = distinct(kept[0].prompts)
        sides = {"seen": limited(batch, len(names)), text_gate.UNSEEN: kept[0]}
        accuracies, made = {}, {}
        for kind, example in sides.items():
            torch.manual_seed(mixed(self.seed, batch.step))
            made[kind] = self.samples(example)
            accuracies[kind] = self.accuracies(example, made[kind])
        self.picture(kept[0], made[text_gate.UNSEEN], batch.step)
        far = text_gate.distance(
            made[text_gate.UNSEEN], self.seen(kept[0].target.rgba), self.seen(batch.target.rgba)
        )
        told = accuracies if self.reader[0] is not None else {}
        verdict = text_gate.judged(told, far, self.rules)
        for line in text_gate.lines(verdict, self.rules):
            log.info("%s", line)
        self.found = text_gate.numbers(verdict)
        self.log_dict(self.found)
        shown = {"shown": names[: self.shown], "rules": self.rules._asdict()}
        self.report("gate.json", {**self.evaluation.card, **self.found, **shown})
        self.tick()

    def samples(self, example: Example) -> Pictures:
        """One for each picture of the example, told its name and where it was seen from."""
        prior, prompts = self.borrowed.prior, example.prompts
        found = []
        for part in torch.arange(len(prompts)).split(self.batch):
            seen_from = camera.chosen(example.target.camera, part)
            condition = prior.condition([prompts[i] for i in part], seen_from, None)
            noise = torch.randn(len(part), *prior.shape).to(self.device)
            found.append(prior.decode(sampled(prior, self.evaluation, condition, noise)))
        return torch.cat(found)

    def seen(self, pictures: Float[Tensor, "N h w 4"]) -> Pictures:
        """As the prior has them."""
        return self.borrowed.prior.decode(self.borrowed.prior.encode(pictures))

    def accuracies(self, example: Example, samples: Pictures) -> dict[str, Accuracy]:
        """How often samples, and true pictures, are found by their names."""
        embedding = self.reader[0]
        if embedding is None:
            return {}
        names = distinct(example.prompts)
        words = embedding.words(names)
        sets = {text_gate.SAMPLE: samples, "true": self.seen(example.target.rgba)}
        return {
            kind: text_gate.accuracy(embedding.pictures(pictures), example.prompts, names, words)
            for kind, pictures in sets.items()
        }

    def picture(self, example: Example, samples: Pictures, step: int) -> None:
        """One sample of each name, and a true picture below it."""
        names = distinct(example.prompts)[: self.shown]
        first = torch.tensor([example.prompts.index(name) for name in names])
        lines = []
        for part in first.split(COLUMNS):
            blank = samples.new_ones(COLUMNS - len(part), *samples.shape[1:3], 3)
            for pictures in (samples, self.seen(example.target.rgba)):
                lines.append(row(torch.cat([pictures[part, ..., :3], blank])))
        log.info("on the sheet, samples above true pictures: %s", ", ".join(names))
        self.show("unseen_names", column(lines), step, ENLARGED)

    def measure(self, data: Any) -> dict[str, float]:
        """What it found, for the run's metrics.json."""
        return self.found


def distinct(prompts: list[str]) -> list[str]:
    """Each once, in their order."""
    return list(dict.fromkeys(prompts))


def limited(example: Example, count: int) -> Example:
    """The pictures of the first `count` names, so that guessing is as hard for them as for others."""
    names = set(distinct(example.prompts)[:count])
    index = [i for i, prompt in enumerate(example.prompts) if prompt in names]
    kept = chosen(example.target, torch.tensor(index))
    return example._replace(prompts=[example.prompts[i] for i in index], target=kept)
