"""Adaptive density control: where pictures pull at Gaussians, more are put (Kerbl et al. 2023, section 5.2).

Every `every` steps those whose projected means had a large mean gradient are doubled: small ones are copied,
large ones fall into two smaller ones drawn from them. Faint, huge ones go. Now and then all are made faint.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.optim import Optimizer

from threestudio_like.geometry.gaussians import Gaussians
from threestudio_like.geometry.moments import exchange
from threestudio_like.ops.splat import rotation_matrices
from threestudio_like.ranges import Count, NonNegative, Positive, Share, Whole
from threestudio_like.records import Footprints, Render


class Densify(nn.Module):
    """A system keeps one as a module, so that what it has gathered is saved and resumed with the rest.

    It calls `after_step(scene, render, optimizer, step)` at the end of LightningModule.optimizer_step, after
    the optimiser's: a checkpoint is written before Lightning calls the system's on_train_batch_end. `render`
    is what the loss of that step was computed from, a mean over its pictures. Random numbers are torch's own,
    which systems/base.py seeds by the step. One process only: parameters change their number in it alone.

    Args:
        begin, until: steps between which Gaussians are doubled, and pruned; steps are counted from 1.
        every: steps between that.
        gradient: mean norm, over the pictures that showed it, of dL / d(projected mean), from which on a
            Gaussian is doubled; the mean in units of half the picture's sides.
        extent: size of the scene, which the next two are shares of.
        dense: Gaussians up to this large are copied, larger ones split.
        huge: those larger are pruned, once opacities have been reset.
        shrink: how many times smaller the two halves are.
        min_opacity: fainter ones are pruned.
        reset_every: steps between resets of all opacities to `reset_opacity` at most.
        limit: not more Gaussians than this, or null; those of the largest gradients are doubled.
    """

    total: Float[Tensor, " N"]
    views: Float[Tensor, " N"]

    def __init__(
        self,
        *,
        begin: Whole,
        until: Whole,
        every: Count,
        gradient: NonNegative,
        extent: Positive,
        dense: Positive,
        huge: Positive,
        shrink: Positive,
        min_opacity: Share,
        reset_every: Count,
        reset_opacity: Share,
        limit: Count | None,
    ) -> None:
        super().__init__()
        self.begin, self.until, self.every = begin, until, every
        self.gradient, self.extent, self.dense, self.huge = gradient, extent, dense, huge
        self.shrink, self.min_opacity = shrink, min_opacity
        self.reset_every, self.reset_opacity = reset_every, reset_opacity
        self.limit = limit
        self.register_buffer("total", torch.zeros(0))
        self.register_buffer("views", torch.zeros(0))

    def after_step(self, scene: nn.Module, render: Render, optimizer: Optimizer, step: int) -> None:
        """What is due after step `step`, counted from 0 as batches are; `scene.geometry` is Gaussians."""
        geometry, done = scene.geometry, step + 1
        if not isinstance(geometry, Gaussians):
            raise ValueError(f"densify: takes Gaussians, not {type(geometry).__name__}")
        if done >= self.until:
            return
        assert render.footprints is not None, "densify: the renderer gives no footprints"
        self.observe(render.footprints, *render.rgb.shape[1:3])
        if done > self.begin and done % self.every == 0:
            self.refine(geometry, optimizer, prune_huge=done > self.reset_every)
        if done % self.reset_every == 0:
            fade(geometry, optimizer, self.reset_opacity)

    def observe(self, footprints: Footprints, height: int, width: int) -> None:
        """Add the gradients of the projected means."""
        gradient = footprints.centers.grad
        assert gradient is not None, "densify: after the backward pass"
        gradient = gradient.nan_to_num(0.0, 0.0, 0.0)  # of a step that is skipped
        if len(self.total) != gradient.shape[1]:
            self.forget(gradient.shape[1], gradient)
        # of each picture's own loss, as if it were the only one
        units = gradient.new_tensor([0.5 * width, 0.5 * height]) * len(gradient)
        shown = (footprints.spreads[..., 0] > 0).to(gradient)
        self.total += (torch.linalg.vector_norm(gradient * units, dim=-1) * shown).sum(0)
        self.views += shown.sum(0)

    def forget(self, count: int, like: Tensor) -> None:
        """Begin to gather anew, for so many Gaussians."""
        self.total, self.views = like.new_zeros(count), like.new_zeros(count)

    def refine(self, geometry: Gaussians, optimizer: Optimizer, *, prune_huge: bool) -> None:
        """Copy, split and prune."""
        with torch.no_grad():
            mean = self.total / self.views.clamp_min(1)
            grow = self.within_limit(mean >= self.gradient, mean)
            large = geometry.log_scales.amax(-1).exp() > self.dense * self.extent
            split = torch.nonzero(grow & large)[:, 0]
            added = torch.cat([torch.nonzero(grow & ~large)[:, 0], split, split])
            kept = torch.nonzero(~(grow & large))[:, 0]
            fresh = torch.arange(len(kept) + len(added), device=kept.device) >= len(kept)
            select(geometry, optimizer, torch.cat([kept, added]), fresh)
            self.scatter(geometry, 2 * len(split))
            gone = torch.sigmoid(geometry.opacity_logits[:, 0]) < self.min_opacity
            if prune_huge:
                gone |= geometry.log_scales.amax(-1).exp() > self.huge * self.extent
            kept = torch.nonzero(~gone)[:, 0]
            if len(kept) == 0:
                raise ValueError("densify: no Gaussian is opaque enough to stay; see min_opacity and huge")
            select(geometry, optimizer, kept, torch.zeros_like(kept, dtype=torch.bool))
            self.forget(len(kept), self.total)

    def within_limit(self, grow: Bool[Tensor, " N"], mean: Float[Tensor, " N"]) -> Bool[Tensor, " N"]:
        """Those of the largest gradients, as many as there is room for."""
        room = len(grow) if self.limit is None else max(self.limit - len(grow), 0)
        first = torch.argsort(torch.where(grow, mean, -1.0), descending=True, stable=True)[:room]
        return grow & torch.zeros_like(grow).index_fill_(0, first, True)

    def scatter(self, geometry: Gaussians, count: int) -> None:
        """Move the last `count` Gaussians to places drawn from themselves, and shrink them."""
        last = slice(len(geometry.means) - count, None)
        scales = geometry.log_scales[last].exp()
        drawn = scales * torch.randn_like(scales)
        turned = torch.einsum("nij,nj->ni", rotation_matrices(geometry.quaternions[last]), drawn)
        geometry.means[last] += turned
        geometry.log_scales[last] -= math.log(self.shrink)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """What was gathered for another number of Gaussians is no mismatch."""
        if prefix + "total" in state_dict:
            self.forget(len(state_dict[prefix + "total"]), self.total)
        super()._load_from_state_dict(state_dict, prefix, *args)


def select(
    geometry: Gaussians, optimizer: Optimizer, source: Int[Tensor, " M"], fresh: Bool[Tensor, " M"]
) -> None:
    """Make the Gaussians those of `source`; the optimiser's moments go along, and are 0 for `fresh` ones."""
    for name, old in list(geometry.named_parameters()):
        new = nn.Parameter(old.detach()[source], requires_grad=old.requires_grad)
        exchange(optimizer, old, new, partial(moved, source=source, fresh=fresh))
        setattr(geometry, name, new)


def moved(value: Float[Tensor, "N ..."], source: Int[Tensor, " M"], fresh: Bool[Tensor, " M"]) -> Tensor:
    """Rows of a moment, 0 for new Gaussians."""
    chosen = value[source]
    chosen[fresh] = 0
    return chosen


def fade(geometry: Gaussians, optimizer: Optimizer, opacity: float) -> None:
    """No Gaussian more opaque than this, and no momentum that would make it so again."""
    with torch.no_grad():
        geometry.opacity_logits.clamp_(max=math.log(opacity / (1 - opacity)))
    for value in optimizer.state.get(geometry.opacity_logits, {}).values():
        if isinstance(value, Tensor) and value.shape == geometry.opacity_logits.shape:
            value.zero_()
