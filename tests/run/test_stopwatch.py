"""Parts of a step: each is timed once, the first step is forgotten, and the stage ends early."""

import json

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from trainers import quiet

from systems.base import Optimization, System
from threestudio_like.ops.camera import orbit
from threestudio_like.priors.base import Borrower
from threestudio_like.priors.oracle import Oracle
from threestudio_like.run.stopwatch import Profile, resident
from threestudio_like.schedule.vp import VP, cosine

PAUSE = 1000.0  # seconds that a picture seems to take


class Clock:
    """Each look at it is a second later."""

    now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


CLOCK = Clock()


class Renderer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(1, 4, 4, 4))

    def forward(self):
        return self.value


class Asking(System):
    """Renders twice, encodes once and asks the prior three times; after each step a picture is rendered."""

    losses = ("image",)

    def __init__(self) -> None:
        optimization = Optimization(lambda groups: torch.optim.SGD(groups), {"renderer": 0.1})
        super().__init__(seed=0, weights={"image": 1.0}, optimization=optimization, draw_every=1)
        self.renderer = Renderer()
        prior = Oracle(schedule=VP(betas=cosine(10, 0.008)), size=4, mean=0.7, null_mean=0.0, std=0.4)
        self.guidance = Borrower(prior=prior)

    def compute(self, batch):
        prior, t, ones = self.guidance.prior, torch.tensor([5]), torch.ones(1)
        camera = orbit(azimuth=ones, elevation=ones, distance=ones, fov_y=ones, height=4, width=4)
        self.renderer()
        x = prior.encode(self.renderer())
        told = prior.condition([""], camera, None)
        return {"image": sum(prior.predict(x, t, told).square().mean() for _ in range(3))}

    def pictures(self, batch):
        CLOCK.now += PAUSE
        self.renderer()
        return {}


class Step:
    step = 0


def test_calls_are_counted_by_part(tmp_path, monkeypatch):
    monkeypatch.setattr("threestudio_like.run.stopwatch.time", CLOCK)
    trainer = quiet(tmp_path, 50, callbacks=[Profile(steps=4)])
    trainer.fit(Asking(), DataLoader([Step()] * 50, batch_size=None))
    assert trainer.global_step == 4
    rows = json.loads((tmp_path / "profile.json").read_text())
    calls = {part: row["calls"] for part, row in rows.items()}
    assert calls == {"render": 2, "encode": 1, "denoise": 3, "backward": 1, "whole": 1}
    seconds = {part: row["seconds"] for part, row in rows.items()}  # between two looks at the clock is one
    assert seconds == {"render": 2, "encode": 1, "denoise": 3, "backward": 1, "whole": 15}


def test_what_the_process_has_held_covers_what_it_holds():
    before = resident()
    held = torch.ones(before // 4 + 2**27)  # as many bytes as all before, and half a GiB
    assert resident() > before + 2**28 and held[0] == 1


def test_one_step_is_none():
    with pytest.raises(ValueError, match="^steps: at least 2"):
        Profile(steps=1)
