"""What every system does: weigh its losses, seed its steps, group its parameters, show its pictures.

A step's randomness is a function of (seed, step, share) alone (data/stream.py), so a resumed run needs no
generator's state.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from threestudio_like.data.stream import ends_step, share
from threestudio_like.fields.hashgrid import HashGrid
from threestudio_like.fields.mlp import MLP
from threestudio_like.geometry.base import Geometry
from threestudio_like.loggers.images import show
from threestudio_like.metrics.shape import overlap
from threestudio_like.ranges import Count, NonNegative, Seed
from threestudio_like.schedule.anneal import Schedule, as_schedule

log = logging.getLogger(__name__)
COMPARED = 64  # cells a side of compared volumes; a fog's surface depends on it, and convert.py takes 64
DIRECTIONS = 32  # from which they are looked at
HALVES = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}  # Lightning's names
Weight = float | Schedule


class Optimization(NamedTuple):
    """An optimiser, called with parameter groups, and the learning rate of each prefix of their names."""

    optimizer: Callable[[Iterable[dict[str, Any]]], Optimizer]
    learning_rates: Mapping[str, NonNegative | None]  # null: there are no such parameters


class System(LightningModule):
    """Base of all systems.

    A subclass names its losses and computes them; `weights` must name the same ones.

    Args:
        seed: of all randomness.
        weights: a number or a schedule for each loss.
        optimization: how the parameters move.
        draw_every: steps between pictures.
    """

    losses: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        seed: Seed,
        weights: Mapping[str, Weight],
        optimization: Optimization,
        draw_every: Count,
    ) -> None:
        super().__init__()
        check_names(self.losses, weights)
        self.seed = seed
        self.weights = {name: as_schedule(weight) for name, weight in weights.items()}
        self.rates = {name: rate for name, rate in optimization.learning_rates.items() if rate is not None}
        self.optimization = optimization
        self.draw_every = draw_every
        self.weighted: dict[str, Tensor] = {}  # weighted losses of the last step, to be told apart

    @classmethod
    def check_settings(cls, settings: Mapping[str, Any]) -> None:
        """Names among the settings that no signature knows: of losses, and of what has a learning rate."""
        check_names(cls.losses, settings.get("weights", {}))
        rates = settings.get("optimization", {}).get("learning_rates", {})
        for prefix in rates:
            first = prefix.partition(".")[0]
            if first not in settings:
                raise ValueError(f"optimization.learning_rates.{prefix}: the system has no part {first!r}")

    def compute(self, batch: Any) -> dict[str, Float[Tensor, ""]]:
        """The losses of this step, unweighted; one that is not due is left out."""
        raise NotImplementedError

    def pictures(self, batch: Any) -> dict[str, Float[Tensor, "H W 3"]]:
        """What to show now, by name."""
        raise NotImplementedError

    def due(self, name: str, step: int) -> bool:
        """Whether a loss counts at this step, that is: has a weight other than zero."""
        return self.weights[name](step) != 0

    def keep_pace(self, factor: float) -> None:
        """Learning rates as they are configured, times `factor`: a function of the step, not of the past."""
        for group in self.optimizers(use_pl_optimizer=False).param_groups:  # type: ignore[union-attr]
            group["lr"] = factor * self.rates[group["name"]]

    @cached_property
    def grids(self) -> list[HashGrid]:
        """Those that open with the step."""
        return [grid for grid in self.modules() if isinstance(grid, HashGrid) and grid.opened is not None]

    def on_fit_start(self) -> None:
        """Networks whose values may be rough multiply in the trainer's precision."""
        half = HALVES.get(str(self.trainer.precision))
        for module in self.modules():
            if isinstance(module, MLP) and not module.exact:
                module.rough = half

    def training_step(self, batch: Any, batch_idx: int) -> Float[Tensor, ""]:
        """The weighted sum."""
        number = 0 if self._trainer is None else share(self.trainer, batch_idx)
        torch.manual_seed(mixed(self.seed, batch.step, number))
        for grid in self.grids:
            grid.at(batch.step)
        # rays, distances and their differences need float32; colours and priors have a precision of their own
        with torch.autocast(self.device.type, enabled=False):
            losses = self.compute(batch)
        assert set(losses) <= set(self.losses), f"undeclared losses: {set(losses) - set(self.losses)}"
        if not losses:
            raise ValueError(f"weights: no loss is due at step {batch.step}; give one a weight there")
        weighted = {name: self.weights[name](batch.step) * loss for name, loss in losses.items()}
        total = torch.stack(list(weighted.values())).sum()
        self.weighted = {name: loss.detach() for name, loss in weighted.items()}
        self.log("loss", total.detach(), prog_bar=True)
        for name, loss in self.weighted.items():
            self.log(f"loss/{name}", loss, prog_bar=True)
        return total

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Pictures appear while it runs: after the first step, then every `draw_every`."""
        if not ends_step(self.trainer, batch_idx):
            return
        if self.trainer.is_global_zero and (batch.step == 0 or (batch.step + 1) % self.draw_every == 0):
            self.draw(batch)

    def draw(self, batch: Any) -> None:
        """Render in evaluation mode and hand the pictures to the run folder and the loggers."""
        training = self.training
        self.eval()
        with torch.no_grad():
            show(self.pictures(batch), batch.step + 1, self.trainer.default_root_dir, self.loggers)
        self.train(training)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        """What changes the scene comes right after the optimiser, as a checkpoint is written soon after."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.after_step(optimizer, self.trainer.global_step)  # counted up after this

    def after_step(self, optimizer: Any, step: int) -> None:
        """Where a system changes more than values of parameters; steps are counted from 0."""

    def configure_optimizers(self) -> Optimizer:
        """One optimiser, one group for each learning rate."""
        groups = parameter_groups(self, self.rates)
        try:
            return self.optimization.optimizer(groups)
        except ValueError as error:  # torch's, of a momentum that is out of range
            raise ValueError(f"optimization.optimizer: {error}") from error

    def configure_gradient_clipping(self, optimizer: Optimizer, *args: Any, **settings: Any) -> None:
        """Where a step is skipped there is nothing to clip, which torch takes for an error."""
        if any(p.grad is not None for group in optimizer.param_groups for p in group["params"]):
            super().configure_gradient_clipping(optimizer, *args, **settings)


def mixed(*numbers: int) -> int:
    """One seed from several numbers: neighbours give unrelated ones (the SplitMix64 finaliser)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state % 2**63


def kept_share(source: Geometry, target: Geometry) -> float:
    """How much of a stage's volume the next one begins with: intersection over union; it is also logged."""
    share = overlap(source.surface(COMPARED), target.surface(COMPARED), DIRECTIONS, COMPARED)
    names = type(source).__name__, type(target).__name__
    log.info("from %s to %s: the volumes' intersection over union is %.3f", *names, share)
    return share


def check_names(losses: Iterable[str], weights: Iterable[str]) -> None:
    """A loss without weight, or a weight without loss, is an error."""
    names = list(losses)
    for name in weights:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"they are {', '.join(names)}"
            raise ValueError(f"weights.{name}: no such loss; {hint}")
    for name in names:
        if name not in weights:
            raise ValueError(f"weights.{name}: missing; the loss needs a weight (0 switches it off)")


def parameter_groups(module: nn.Module, learning_rates: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """Trainable parameters by the longest prefix of their name; none may be left over, no prefix be idle."""
    learning_rates = {prefix: rate for prefix, rate in learning_rates.items() if rate is not None}
    groups: dict[str, list[nn.Parameter]] = {prefix: [] for prefix in learning_rates}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        fits = [prefix for prefix in groups if name == prefix or name.startswith(prefix + ".")]
        if not fits:
            known = list(groups)
            raise ValueError(
                f"optimization.learning_rates: nothing fits the parameter {name!r}; they are {known}"
            )
        groups[max(fits, key=len)].append(parameter)
    for prefix, parameters in groups.items():
        if not parameters:
            raise ValueError(f"optimization.learning_rates.{prefix}: no trainable parameter has this prefix")
    return [{"params": groups[prefix], "lr": rate, "name": prefix} for prefix, rate in learning_rates.items()]
