"""Trained priors side by side: one distance, `edges96`'s (metrics/frechet.py), to the same pictures.

Nothing is trained. The floor is the distance between pictures that were trained on and pictures of other
objects: nobody who has not memorised the first can be expected below it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from systems.base import mixed
from systems.denoise import Evaluation, sampled
from systems.observe import Observe
from threestudio_like.loggers.images import column, row
from threestudio_like.metrics.frechet import edges96, frechet
from threestudio_like.priors.pixels import Pixels
from threestudio_like.priors.weights import load
from threestudio_like.records import Example

log = logging.getLogger(__name__)
SIDE = 6  # pictures a side of a block of the sheet


class Contender(NamedTuple):
    """A prior, and how it is sampled; stage: of this run, whose weights it takes; null: it has its own."""

    prior: Pixels
    evaluation: Evaluation
    stage: str | None


class Compare(Observe):
    """One step: as many samples of each contender as the batch has pictures, all from the same noise."""

    def __init__(self, *, contenders: Mapping[str, Contender], seed: int) -> None:
        super().__init__()
        self.contenders = contenders
        self.seed = seed
        self.found: dict[str, float] = {}

    def on_fit_start(self) -> None:
        """Weights of the stages before. Priors are no modules of this one: not trained, not saved."""
        for each in self.contenders.values():
            each.prior.requires_grad_(False).eval().to(self.device)
            if each.stage is not None:
                stage = Path(self.trainer.default_root_dir).parent / each.stage
                load(each.prior, str(stage / "weights.safetensors"))

    @torch.no_grad()
    def training_step(self, batch: Example, batch_idx: int) -> None:
        """Sample, measure, show."""
        held_out: Any = self.trainer.datamodule.validation_examples()[0]  # type: ignore[attr-defined]
        first = next(iter(self.contenders.values())).prior
        truth, other = (first.decode(first.encode(each.target.rgba)) for each in (batch, held_out))
        self.found["frechet/floor"] = float(frechet(edges96(truth), edges96(other)))
        sheets = {"data": block(truth)}
        for name in self.contenders:
            torch.manual_seed(mixed(self.seed, batch.step))
            began = time.monotonic()
            pictures = self.samples(name, batch)
            self.found[f"frechet/{name}"] = float(frechet(edges96(truth), edges96(pictures)))
            self.found[f"seconds/{name}"] = round(time.monotonic() - began, 1)
            sheets[name] = block(pictures)
            log.info("%-16s frechet %.3f", name, self.found[f"frechet/{name}"])
        log.info("side by side: %s; floor %.3f", ", ".join(sheets), self.found["frechet/floor"])
        self.log_dict(self.found)
        self.show("side_by_side", row(sheets.values()), batch.step, 1)
        self.tick()

    def samples(self, name: str, batch: Example) -> Float[Tensor, "B H W 4"]:
        """Of one contender; the calls of its network for each picture are counted."""
        prior, evaluation, _ = self.contenders[name]
        calls = 0

        def count(*_: Any) -> None:
            nonlocal calls
            calls += 1

        counter = prior.get_submodule("denoiser").register_forward_hook(count)
        condition = prior.condition(batch.prompts, batch.target.camera, batch.reference)
        noise = torch.randn(len(batch.prompts), *prior.shape).to(self.device)
        pictures = prior.decode(sampled(prior, evaluation, condition, noise))
        counter.remove()
        self.found[f"calls/{name}"] = float(calls)
        self.found[f"parameters/{name}"] = float(sum(p.numel() for p in prior.parameters()))
        return pictures

    def measure(self, data: Any) -> dict[str, float]:
        """What it found, for the run's metrics.json."""
        return self.found


def block(pictures: Float[Tensor, "B H W 4"]) -> Float[Tensor, "h w 3"]:
    """The first ones in a square, with a margin to the right."""
    count = min(SIDE**2, len(pictures))
    shown = pictures[:count, ..., :3]
    lines = [row(shown[start : start + SIDE]) for start in range(0, count - count % SIDE or count, SIDE)]
    whole = column(lines)
    return torch.cat([whole, torch.full_like(whole[:, :4], 0.5)], dim=1)
