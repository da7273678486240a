"""Editing pictures of a scene: what the prior changes is added to the original, and nothing else."""

import pytest
import torch

from threestudio_like.data.cameras import Pose
from threestudio_like.guidance.cfg import Dual
from threestudio_like.guidance.edit import Edit
from threestudio_like.priors.base import Condition, Prior
from threestudio_like.records import View
from threestudio_like.schedule.levels import Uniform
from threestudio_like.schedule.samplers import ddim
from threestudio_like.schedule.vp import VP, cosine


class Darker(Prior):
    """Sure of the picture that it is shown, less as much red as there are words."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule, self.shape = VP(betas=cosine(100, 0.008)), (4, 8, 8)
        self.asked: list[str] = []

    def encode(self, image):
        return torch.nn.functional.interpolate(image.permute(0, 3, 1, 2) * 2 - 1, (8, 8), mode="area")

    def decode(self, x):
        return ((x + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)

    def condition(self, prompts, camera, reference):
        self.asked += prompts
        words = torch.tensor([[[float(len(prompt.split()))]] for prompt in prompts])
        return Condition(tokens=words, image=self.encode(reference.rgba))

    def null(self, condition):
        return Condition(tokens=0 * condition.tokens, image=condition.image)

    def predict(self, x_t, t, condition):
        red = torch.tensor([1.0, 0, 0, 0]).view(1, 4, 1, 1)
        return self.schedule.eps_from_x0(x_t, condition.image - 0.1 * condition.tokens[..., None] * red, t)


def edit(low: float, high: float) -> Edit:
    def sampler(eps, x_t, levels, schedule):
        return ddim(eps, x_t, levels, schedule, eta=0.0, clip=None)

    cfg = Dual(image_scale=1.0, text_scale=1.0, within=[0.0, 1.0])
    return Edit(prior=Darker(), cfg=cfg, levels=Uniform(low=low, high=high), steps=4, sampler=sampler)


@pytest.mark.parametrize("level", [0.1, 0.9])
def test_only_the_change_is_added(level):
    """Detail finer than the prior's pixels stays; red falls by 0.05 a word, as [-1, 1] is twice as wide."""
    torch.manual_seed(0)
    rgb = 0.3 + 0.4 * torch.rand(2, 32, 32, 3)
    original = View(Pose(0.0, 0.0, 2.0, 45.0).camera(32), rgb, torch.ones(2, 32, 32, 1))
    editor = edit(level, level)
    found = editor(torch.rand(2, 32, 32, 4), original, "make it darker", 0)
    want = original.rgba - torch.tensor([0.15, 0.0, 0.0, 0.0])
    torch.testing.assert_close(found, want, atol=1e-4, rtol=0)
    assert editor.prior.asked == ["make it darker"] * 2


def test_the_prior_is_frozen_and_not_in_the_state():
    editor = edit(0.5, 0.5)
    assert not editor.state_dict() and not list(editor.parameters())
