"""The texture stage: the geometry stays, the picture is met, the cycle of learning and following turns."""

import pytest
import torch

from systems.dreamcraft3d.texture import Skipped
from threestudio_like.run.composition import resolved
from threestudio_like.run.signatures import check
from threestudio_like.schedule.anneal import every

OFF = (
    "guidance.texture.prior.weights=null",
    "guidance.view.prior.weights=null",
    "scene.geometry.resolution=12",
)


def test_the_cycle_trains_dreambooth_first_then_distils(built, ball):
    system = built("texture", *OFF)
    assert set(system.compute(ball(0))) == {"dreambooth"}
    assert len(system.guidance["texture"].pool.pictures) == 1
    system.compute(ball(1))
    assert len(system.guidance["texture"].pool.pictures) == 1  # not every step
    system.compute(ball(5))
    assert len(system.guidance["texture"].pool.pictures) == 2
    assert set(system.compute(ball(20))) == {"rgb"}
    assert set(system.compute(ball(21))) == {"texture", "lora", "view"}
    assert set(system.compute(ball(100))) == {"dreambooth"}


def test_the_geometry_stays_while_the_colours_approach_the_pictures(built, ball, fitted):
    system = built("texture", *OFF, "optimization.learning_rates={scene.geometry.feature:0.01}")
    inside = ball(0).reference.alpha[..., 0] > 0
    with torch.no_grad():
        surface = system.scene.geometry.mesh().vertices.clone()
        was = system.show(ball(0).reference.camera, 0).rgb[inside].mean(0)
    fitted(system, lambda step: ball(20 + 2 * (step % 40)), 40)
    with torch.no_grad():
        now = system.show(ball(0).reference.camera, 0).rgb[inside].mean(0)
    assert torch.equal(surface, system.scene.geometry.mesh().vertices)
    assert now[0] > was[0] + 0.03 and now[1] < was[1] - 0.03  # redder, less green


def test_distillation_moves_colours_only(built, ball):
    system = built("texture", *OFF)
    system.compute(ball(0))["dreambooth"].backward()
    table = system.scene.geometry.encoding.table
    assert table.grad is None  # what the networks learn does not move the scene
    losses = system.compute(ball(21))
    losses["texture"].backward()
    assert table.grad.abs().max() > 0 and system.scene.geometry.distance.grad is None


@pytest.mark.parametrize(
    ("kind", "odd"), [("vsd", {"texture", "lora", "view"}), ("sds", {"texture", "view"})]
)
def test_another_guidance_takes_bsds_place_by_one_option(built, ball, fitted, kind, odd):
    """There is no DreamBooth model, so its steps are left out, and no learning rate is idle."""
    system = built("texture", *OFF, groups=[f"guidance@stages.texture.system.guidance.texture={kind}"])
    assert [set(system.compute(ball(step))) for step in (0, 1, 80)] == [{"rgb"}, odd, {"rgb"}]
    before = {name: value.detach().clone() for name, value in system.named_parameters()}
    seen = fitted(system, ball, 2)
    assert set(seen[1]) == odd
    moved = {name for name, value in system.named_parameters() if not torch.equal(value, before[name])}
    assert any(name.startswith("scene.geometry.encoding") for name in moved)
    assert any(name.startswith("guidance.texture.learner") for name in moved) == (kind == "vsd")


def test_a_clock_without_some_steps():
    skipped = Skipped(every(value=1.0, period=5, begin=0, until=2))  # 2, 3, 4, 7, 8, 9, ...
    assert [skipped(float, step) for step in (0, 2, 3, 5, 1)] == [2, 4, 7, 9, 3]


def test_both_networks_and_the_pool_are_saved_and_come_back(built, ball):
    system, other = built("texture", *OFF), built("texture", *OFF)
    system.compute(ball(0))
    other.load_state_dict(system.state_dict())
    ours, theirs = system.guidance["texture"], other.guidance["texture"]
    assert torch.equal(ours.pool.pictures[0].x, theirs.pool.pictures[0].x)
    names = system.state_dict().keys()
    assert any("learner" in name for name in names) and any("dreambooth" in name for name in names)


def test_published_networks_learn_and_move_the_colours(paper, ball):
    """DreamBooth, the score of the renders and the texture, with random weights in the published layout."""
    system = paper("texture", ("texture",), "scene.geometry.resolution=12")
    system.guidance["texture"].augment.count = 2
    losses = system.compute(ball(0)) | system.compute(ball(201))
    parts = {
        "dreambooth": system.guidance["texture"].dreambooth,
        "lora": system.guidance["texture"].learner,
        "texture": system.scene,
    }
    assert set(losses) == set(parts)
    for name, part in parts.items():
        system.zero_grad()
        losses[name].backward()
        gradients = [value.grad for value in part.parameters() if value.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients), name
        assert sum(gradient.abs().sum() for gradient in gradients) > 0, name
    assert system.guidance["texture"].pool.pictures[0].x.shape == (4, 8, 8)


@pytest.mark.parametrize(
    ("group", "slot", "option"),
    [
        ("guidance", "", "bsd"),
        ("guidance", "", "vsd"),
        ("guidance", "", "sds"),
        ("priors", ".dreambooth", "lora"),
    ],
)
def test_the_published_one_changes_by_one_word(composed, group, slot, option):
    """It computes blocks again, and what takes its place is told nothing of that."""
    key = "stages.texture.system.guidance.texture"
    assert composed("paper").stages.texture.system.guidance.texture.dreambooth.checkpointing
    changed = resolved(composed("paper", f"{group}@{key}{slot}={option}"))["stages"]["texture"]["system"]
    assert not changed["guidance"]["texture"].get("dreambooth", {}).get("checkpointing")
    check(changed["guidance"]["texture"], f"{key}.guidance.texture")
    assert composed("small").stages.texture.system.guidance.texture.dreambooth.checkpointing is False
