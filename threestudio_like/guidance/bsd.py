"""Bootstrapped score distillation (Sun et al. 2023): VSD whose pre-trained side learns the scene.

grad = w(t) (eps_DreamBooth(x_t; y, t, c) - eps_lora(x_t; y, t, c)). The DreamBooth model is fine-tuned on
augmented renders x_r = r_t'(x): noised to t' and denoised again by the frozen prior; t' falls as the texture
gets better. Each x_r keeps the camera and the words it was made with (the official code conditions on those
of the render of the moment), and the frozen prior remains the sampler (the official one turns into the
DreamBooth model after the first picture).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from threestudio_like.guidance.base import Fitting, Noised
from threestudio_like.guidance.cfg import Guided
from threestudio_like.guidance.vsd import VSD
from threestudio_like.priors.base import Condition, Learner, Prior
from threestudio_like.ranges import Count
from threestudio_like.records import Camera, View
from threestudio_like.schedule.anneal import Number, Schedule, as_schedule
from threestudio_like.schedule.levels import Levels, at
from threestudio_like.schedule.samplers import ddim, from_level


class Augment:
    """r_t': noise to t', then denoise by DDIM.

    Args:
        level: t'/num_steps at a step; it falls.
        cfg: guidance while denoising.
        count: levels from t' down to 0, at most.
        clip: the range of pictures in the prior's space; null for none.
    """

    def __init__(
        self, *, level: Number | Schedule, cfg: Guided, count: Count, clip: Sequence[Number] | None
    ) -> None:
        self.level = as_schedule(level)
        self.cfg, self.count = cfg, count
        self.clip = None if clip is None else (float(clip[0]), float(clip[1]))

    def __call__(
        self, prior: Prior, x: Float[Tensor, "B C h w"], condition: Condition, step: int
    ) -> Float[Tensor, "B C h w"]:
        """x_r of x."""
        level = at(self.level, step, prior.schedule.num_steps)
        t = torch.full((len(x),), level, dtype=torch.int64, device=x.device)
        x_t = prior.schedule.noised(x, torch.randn_like(x), t)

        def eps(x_t: Tensor, t: Tensor) -> Tensor:
            return self.cfg(prior, x_t, t, condition)

        return ddim(eps, x_t, from_level(level, self.count), prior.schedule, eta=0.0, clip=self.clip)


class Augmented(NamedTuple):
    """One augmented render in the prior's space, and what it was made with; on the CPU."""

    x: Float[Tensor, "C h w"]
    prompt: str
    c2w: Float[Tensor, "4 4"]
    fov_y: Float[Tensor, ""]
    size: tuple[int, int]  # of the camera's picture


class Pool(nn.Module):
    """The last `capacity` augmented renders; a training step draws `batch` of them. Saved with the stage."""

    def __init__(self, *, capacity: Count, batch: Count) -> None:
        super().__init__()
        if capacity < 1 or batch < 1:
            raise ValueError(f"pool: capacity and batch must be at least 1, not {capacity} and {batch}")
        self.capacity, self.batch = capacity, batch
        self.pictures: list[Augmented] = []

    def add(self, x: Float[Tensor, "B C h w"], prompts: list[str], camera: Camera) -> None:
        """Put in pictures; the oldest leave."""
        x, c2w, fov_y = (value.detach().float().cpu() for value in (x, camera.c2w, camera.fov_y))
        size = (camera.height, camera.width)
        new = [Augmented(*row, size) for row in zip(x.clone(), prompts, c2w, fov_y, strict=True)]
        self.pictures = [*self.pictures, *new][-self.capacity :]

    def draw(self, device: torch.device) -> tuple[Float[Tensor, "B C h w"], list[str], Camera]:
        """Pictures at random, with their words and cameras; cameras of one size are drawn together."""
        assert self.pictures, "refresh the pool before drawing from it"
        first = self.pictures[int(torch.randint(len(self.pictures), ()))]
        alike = [picture for picture in self.pictures if picture.size == first.size]
        rows = [first, *(alike[i] for i in torch.randint(len(alike), (self.batch - 1,)))]
        x, c2w, fov_y = (
            torch.stack(values).to(device)
            for values in ([row.x for row in rows], [row.c2w for row in rows], [row.fov_y for row in rows])
        )
        return x, [row.prompt for row in rows], Camera(c2w, fov_y, *first.size)

    def get_extra_state(self) -> list[dict[str, Any]]:
        """The pictures, as plain values."""
        return [picture._asdict() for picture in self.pictures]

    def set_extra_state(self, state: list[dict[str, Any]]) -> None:
        """The pictures of another pool, in place of these."""
        pictures = [Augmented(**row) for row in state][-self.capacity :]
        self.pictures = [p._replace(x=p.x.cpu(), c2w=p.c2w.cpu(), fov_y=p.fov_y.cpu()) for p in pictures]


class BSD(VSD):
    """VSD towards a DreamBooth model of the scene; both networks and the pool are trained and saved with it.

    Args beside VSD's:
        dreambooth: makes the DreamBooth model from the frozen prior, such as `priors.dreambooth.DreamBooth`.
        dreambooth_fitting: how it is trained.
        augment: r_t'.
        pool: of augmented renders.
    """

    def __init__(
        self,
        *,
        prior: Prior,
        cfg: Guided,
        levels: Levels,
        weighting: str,
        grad_clip: Number | Schedule | None,
        learner: Callable[..., Learner],
        fitting: Fitting,
        dreambooth: Callable[..., Learner],
        dreambooth_fitting: Fitting,
        augment: Augment,
        pool: Pool,
    ) -> None:
        super().__init__(
            prior=prior,
            cfg=cfg,
            levels=levels,
            weighting=weighting,
            grad_clip=grad_clip,
            learner=learner,
            fitting=fitting,
        )
        self.dreambooth = dreambooth(prior=prior)
        self.dreambooth_fitting = dreambooth_fitting
        self.augment = augment
        self.pool = pool

    @torch.no_grad()
    def refresh(
        self,
        image: Float[Tensor, "B H W 4"],
        prompts: list[str],
        camera: Camera,
        reference: View | None,
        step: int,
    ) -> Float[Tensor, "B C h w"]:
        """Augment renders and put them into the pool; they are returned for a look, in the prior's space."""
        condition = self.prior.condition(prompts, camera, reference)
        x = self.augment(self.prior, self.prior.encode(image), condition, step)
        self.pool.add(x, prompts, camera)
        return x

    def fit_dreambooth(self, reference: View | None, step: int) -> Float[Tensor, ""]:
        """The DreamBooth model's loss on pictures of the pool, each with its own camera and words."""
        x, prompts, camera = self.pool.draw(self.prior.schedule.alpha_bar.device)
        with torch.no_grad():
            condition = self.dreambooth.condition(prompts, camera, reference)
        return self.dreambooth_fitting.loss(self.dreambooth, x, condition, step)

    def wanted(
        self, noisy: Noised, prompts: list[str], camera: Camera, reference: View | None
    ) -> Float[Tensor, "B C h w"]:
        """eps_DreamBooth."""
        condition = self.dreambooth.condition(prompts, camera, reference)
        return self.cfg(self.dreambooth, noisy.x_t, noisy.t, condition)
