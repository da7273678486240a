"""Zero-1-to-3's training: two losses with a lift, one without; and the gate's numbers."""

import math

import pytest
import torch

from systems.zero123 import hue


def test_losses_and_their_gradients(small_system, examples):
    system, batch = small_system("zero123"), examples(1)[0]
    losses = system.compute(batch)
    assert set(losses) == {"denoise", "lift", "chroma"}
    losses["lift"].backward()
    assert system.prior.lift.picture.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in system.prior.denoiser.parameters())


def test_without_a_lift(small_system, examples):
    system = small_system("zero123", "prior.lift=null", "prior.denoiser.image_channels=16", "weights.lift=0")
    assert set(system.compute(examples(1)[0])) == {"denoise"}
    with torch.no_grad():
        assert system.pictures(examples(1)[0])["samples"].shape == (3 * 16, 4 * 16, 3)


PLAIN = (
    "prior.lift=null",
    "prior.denoiser.image_channels=16",
    "weights={denoise:1.0,lift:0.0,chroma:0.0}",
)
PAPER_S = (
    "priors@system.prior.pose=image_token",
    "+system.optimization.learning_rates={prior.pose.project:8e-3}",
)
KINDS = {
    "lifted": ((), (), {"pose": "pose", "lift": "lift"}),
    "flat": ((), ("priors@system.prior.lift=flat",), {"pose": "pose", "lift": "flat"}),
    "plain": (PLAIN, PAPER_S, {"pose": "token", "lift": "none"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_trains_and_its_card_says_which_it_is(kind, small_system, examples, fitted):
    overrides, groups, told = KINDS[kind]
    system = small_system("zero123", *overrides, groups=groups)
    assert {"pixels": 16, "prediction": "x0", **told}.items() <= system.described().items()
    batch = examples(1)[0]
    seen = fitted(system, lambda step: batch, 25)
    assert seen[-1]["denoise"] < 0.9 * seen[0]["denoise"]
    assert all(p.grad is not None for p in system.prior.parameters() if p.requires_grad)
    if kind != "plain":
        assert seen[-1]["lift"] < 0.9 * seen[0]["lift"]


def test_the_projection_learns_at_a_rate_of_its_own(small_system):
    overrides, groups, _ = KINDS["plain"]
    system = small_system("zero123", *overrides, groups=groups)
    rates = {
        group["name"]: (group["lr"], len(group["params"]))
        for group in system.configure_optimizers().param_groups
    }
    assert rates["prior.pose.project"] == (8e-3, 2) and rates["prior"][0] == 8e-4


def test_gate(small_system, examples):
    system, batch = small_system("zero123"), examples(1)[0]
    batch = batch._replace(reference=batch.target)
    with torch.no_grad():
        scores = system.score(batch)
    guesses = ("copied_input", "mean_picture", "sample", "wrong_pose", "wrong_input", "regression")
    assert {f"{g}/{m}" for g in guesses for m in ("psnr", "ssim", "mask_iou")} < set(scores)
    assert scores["copied_input/ssim"] == pytest.approx(1, abs=1e-4)
    assert scores["copied_input/mask_iou"] == 1
    assert all(math.isfinite(value) for name, value in scores.items() if not name.startswith("copied"))
    assert scores["sample/psnr"] != scores["wrong_pose/psnr"] != scores["wrong_input/psnr"]


def test_hue():
    grey, red = torch.full((1, 4, 2, 2), 0.3), torch.tensor([0.9, 0.0, 0.0, 1.0]).view(1, 4, 1, 1)
    assert hue(grey).abs().max() < 1e-6
    torch.testing.assert_close(hue(red + grey)[0, :, 0, 0], torch.tensor([0.6, -0.3, -0.3]))
