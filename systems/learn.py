"""Base of the systems that train a network: the running average of its weights, the scores, the card.

What is validated, drawn and exported is the average (EMA) of the weights.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from systems.base import Optimization, System, Weight
from threestudio_like.priors.weights import save
from threestudio_like.ranges import Count, Seed, Share
from threestudio_like.schedule.anneal import Schedule

log = logging.getLogger(__name__)


class Pace(NamedTuple):
    """ema: how much the average keeps; pace: factor on the learning rates, at each step."""

    ema: Share
    pace: Schedule


class Learn(System):
    """Trains `prior`; exports its average to weights.safetensors and weights.json in the stage's folder.

    card: what is written beside the exported weights, with the steps and the last scores.
    """

    def __init__(
        self,
        *,
        prior: nn.Module,
        pace: Pace,
        card: Mapping[str, Any],
        seed: Seed,
        weights: Mapping[str, Weight],
        optimization: Optimization,
        draw_every: Count,
    ) -> None:
        super().__init__(seed=seed, weights=weights, optimization=optimization, draw_every=draw_every)
        self.prior = prior
        self.averaged = copy.deepcopy(prior).requires_grad_(False)
        self.pace = pace
        self.card = card
        self.scores: list[dict[str, float]] = []
        self.measured: dict[str, float] = {}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Learning rates are functions of the step, so a resumed run may be given others."""
        self.keep_pace(self.pace.pace(batch.step))

    @torch.no_grad()
    def after_step(self, optimizer: Any, step: int) -> None:
        """Move the average, before a checkpoint is written; it forgets faster at first."""
        keep = min(self.pace.ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.prior.parameters()), 1 - keep)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Scores of one held-out batch; the noise is the same each time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(batch_idx)
            with torch.autocast(self.device.type, enabled=False):
                self.scores.append(self.score(batch))

    def score(self, batch: Any) -> dict[str, float]:
        """Of the average on one held-out batch, by name."""
        raise NotImplementedError

    def on_validation_epoch_end(self) -> None:
        """Log the means, and export the weights with them."""
        means = {name: sum(s[name] for s in self.scores) / len(self.scores) for name in self.scores[0]}
        self.scores.clear()
        self.measured = {name: round(value, 4) for name, value in means.items()}
        log.info("held out: %s", ", ".join(f"{name} {value:.4g}" for name, value in means.items()))
        self.measured["steps"] = self.trainer.global_step
        # every process has scored the same examples
        self.log_dict({f"validation/{name}": value for name, value in means.items()}, sync_dist=True)
        self.export()

    def on_fit_end(self) -> None:
        """Export what a stop, or the last step, leaves; a kill may have come before its validation."""
        trainer, every = self.trainer, self.trainer.val_check_interval
        seen = trainer.global_step * trainer.accumulate_grad_batches
        due = trainer.enable_validation and isinstance(every, int) and seen > 0 and seen % every == 0
        if due and self.measured.get("steps") != trainer.global_step:
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.run()
        self.export()

    def measure(self, data: Any) -> dict[str, float]:
        """The last validation's scores: what a sweep of trainings compares."""
        return {name: value for name, value in self.measured.items() if name != "steps"}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The last scores, for the card."""
        checkpoint["measured"] = self.measured

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Those of before."""
        self.measured = checkpoint.get("measured", {})  # one of before this was kept has none

    def described(self) -> Mapping[str, Any]:
        """What the card says of the network itself."""
        return {}

    def export(self) -> None:
        """The averaged weights, and a card with the last validation's scores."""
        if self.trainer.is_global_zero:
            card = {
                **self.card,
                **self.described(),
                "steps": self.trainer.global_step,
                "metrics": self.measured,
            }
            save(self.averaged, Path(self.trainer.default_root_dir) / "weights", card)
