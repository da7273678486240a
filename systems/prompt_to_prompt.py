"""Pairs of pictures from pairs of captions (Brooks et al. 2023, section 3.1.2), by a text prior of ours.

Both captions are denoised from the same noise; for a share p of the steps, the noisiest, the second attends
by the first one's maps (Prompt-to-Prompt). p and the guidance are drawn anew for each try; an embedding says
which tries are kept. Nothing is trained: a step answers a batch of captions, and writes into the stage's
`pairs/`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from systems.base import mixed
from systems.denoise import Evaluation, sampled
from systems.observe import Observe
from threestudio_like.data import generated
from threestudio_like.data.caption_pairs import Asked
from threestudio_like.data.generated import Pair
from threestudio_like.guidance.cfg import CFG
from threestudio_like.loggers.images import column, row
from threestudio_like.metrics.pairing import Likeness, Limits, kept, likeness
from threestudio_like.priors.attention import Kinds, injected, recorded
from threestudio_like.priors.base import Borrower, Condition
from threestudio_like.priors.embedding import Embedding
from threestudio_like.priors.text_to_image import TextToImage

log = logging.getLogger(__name__)
SHOWN, ENLARGED = 12, 3  # columns of a sheet; pixels that show one
FOLDER = "pairs"
Pictures = Float[Tensor, "B H W 4"]


class Tries(NamedTuple):
    """How many of each pair of captions, between which p and guidance scales; kinds: of maps."""

    number: int
    share: Sequence[float]
    scale: Sequence[float]
    kinds: Kinds


class PromptToPrompt(Observe):
    """Leaves pairs/ with pictures and pairs.json, and a sheet of each step's first tries.

    evaluation: its cfg is not used; a try has a guidance of its own.
    """

    def __init__(
        self,
        *,
        prior: TextToImage,
        embedding: Embedding,
        evaluation: Evaluation,
        tries: Tries,
        limits: Limits,
        seed: int,
    ) -> None:
        super().__init__()
        self.borrowed = Borrower(prior=prior)  # frozen, not in checkpoints
        self.reader = (embedding,)  # in a tuple, where nn.Module does not look
        self.evaluation, self.tries, self.limits, self.seed = evaluation, tries, limits, seed
        self.lines: list[dict[str, Any]] = []  # of the index
        self.tried = 0

    def on_fit_start(self) -> None:
        """The embedding is frozen, too."""
        self.reader[0].requires_grad_(False).eval().to(self.device)

    @torch.no_grad()
    def training_step(self, asked: Asked, batch_idx: int) -> None:
        """Draw, filter, write, show."""
        rng = np.random.default_rng([self.seed, asked.step])
        made, told, rated = [], [], []
        for attempt in range(self.tries.number):
            share, scale = (rng.uniform(low, high) for low, high in (self.tries.share, self.tries.scale))
            torch.manual_seed(mixed(self.seed, asked.step, attempt))
            before, after = self.drawn(asked, share, scale)
            made.append((before, after))
            told.append({"share": round(share, 3), "scale": round(scale, 3)})
            rated.append(self.rated(asked, before, after))
        found = Likeness(*(torch.stack(each) for each in zip(*rated, strict=True)))
        which = kept(found, self.limits)
        pairs = []
        for attempt, i in which.nonzero().tolist():
            cosines = {n: round(float(v[attempt, i]), 3) for n, v in found._asdict().items()}
            captions = {"captions": [asked.before[i], asked.after[i]]}
            before, after = (straight(side[i]) for side in made[attempt])
            told_of_it = {**captions, **told[attempt], **cosines}
            pairs.append(Pair(asked.names[i], asked.instructions[i], before, after, told_of_it))
        self.lines += generated.write(self.folder / FOLDER, pairs, len(self.lines))
        generated.index(self.folder / FOLDER, self.lines)
        self.tried += which.numel()
        log.info("%d of %d tries kept, %d in all", len(pairs), which.numel(), len(self.lines))
        self.show("tries", column([row(side[:SHOWN, ..., :3]) for side in made[0]]), asked.step, ENLARGED)
        self.log_dict({"kept": float(len(self.lines)), "tried": float(self.tried)})
        self.tick()

    def drawn(self, asked: Asked, share: float, scale: float) -> tuple[Pictures, Pictures]:
        """Both pictures of each pair."""
        prior = self.borrowed.prior
        noise = torch.randn(len(asked.before), *prior.shape).to(self.device)
        told = [prior.condition(prompts, asked.camera, None) for prompts in (asked.before, asked.after)]
        latents = alike(prior, self.evaluation, told, noise, share, scale, self.tries.kinds)
        before, after = (prior.decode(x) for x in latents)
        return before, after

    def rated(self, asked: Asked, before: Pictures, after: Pictures) -> Likeness:
        """What the embedding says of pictures and captions."""
        embedding = self.reader[0]
        seen = [embedding.pictures(pictures) for pictures in (before, after)]
        return likeness(*seen, *(embedding.words(words) for words in (asked.before, asked.after)))

    def measure(self, data: Any) -> dict[str, float]:
        """How many were kept, for the run's metrics.json."""
        return {"kept": float(len(self.lines)), "tried": float(self.tried)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Plain values only."""
        checkpoint["pairs"] = {"lines": self.lines, "tried": self.tried}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What was kept before."""
        self.lines, self.tried = checkpoint["pairs"]["lines"], checkpoint["pairs"]["tried"]


def alike(
    prior: Any,
    evaluation: Evaluation,
    told: list[Condition],
    noise: Float[Tensor, "B C h w"],
    share: float,
    scale: float,
    kinds: Kinds,
) -> list[Float[Tensor, "B C h w"]]:
    """Samples of two conditions, from the same noise at every step; the second with the first one's maps.

    Maps are shared in the first `share` of the network's calls of a sample.
    """
    calls: list[list[Tensor]] = []
    guided = CFG(form="standard", scale=scale)
    asks = evaluation.steps  # every sampler asks at least once a step; Heun's, twice, shares half as long
    count = 0

    def first(prior: Any, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        if len(calls) >= round(share * asks):
            return guided(prior, x_t, t, condition)
        with recorded(prior.denoiser, kinds) as maps:
            eps = guided(prior, x_t, t, condition)
        calls.append(maps)
        return eps

    def second(prior: Any, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        nonlocal count
        count += 1
        if count > len(calls):
            return guided(prior, x_t, t, condition)
        with injected(prior.denoiser, kinds, calls[count - 1]):
            return guided(prior, x_t, t, condition)

    seed, samples = int(torch.randint(2**62, ())), []
    for cfg, condition in zip((first, second), told, strict=True):
        torch.manual_seed(seed)
        samples.append(sampled(prior, evaluation._replace(cfg=cfg), condition, noise))
    return samples


def straight(picture: Float[Tensor, "H W 4"]) -> Float[Tensor, "H W 4"]:
    """Of a picture over white, its colour without the white."""
    rgb, alpha = picture.split([3, 1], dim=-1)
    return torch.cat([((rgb - 1 + alpha) / alpha.clamp(min=1e-3)).clamp(0, 1), alpha], dim=-1)
