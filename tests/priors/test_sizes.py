"""What is counted, against a case by hand; the published sizes are held where their networks are tested."""

from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from torch import nn

from threestudio_like.priors import sizes
from threestudio_like.run.composition import resolved
from threestudio_like.schedule.anneal import as_schedule

CONFIGS = Path(__file__).parents[2] / "configs"


def test_two_layers_by_hand():
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(5, 7), nn.Sigmoid(), nn.Linear(7, 2)).requires_grad_(False)
        x = torch.empty(3, 5, requires_grad=True)
    cost = sizes.counted("net", sizes.weights(net), lambda: net(x), backward=True)
    assert cost.held == 4 * (5 * 7 + 7 + 7 * 2 + 2)
    assert cost.flops == 2 * 2 * 3 * (5 * 7 + 7 * 2)  # there and back to the input
    assert cost.kept == 4 * 3 * 7  # the sigmoid's answer; frozen layers keep nothing of their inputs
    assert sizes.counted("net", 0, lambda: net(x), backward=False).kept == 0
    assert "| net | 0.00 | 0.00 | 0.00 |" in sizes.table("stage", [cost])


def test_blocks_that_are_computed_again_keep_what_goes_into_them_and_one_inside():
    class Blocks(nn.Module):
        """Called as diffusers calls its own."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Sequential(nn.Linear(n, n), nn.Sigmoid()) for n in (8, 8, 8))
            self.call = lambda layer, x: layer(x)

        def enable_gradient_checkpointing(self, call) -> None:
            self.call = call

        def forward(self, x):
            for layer in self.layers:
                x = self.call(layer, x)
            return x

    with torch.device("meta"):
        net, x = Blocks(), torch.empty(3, 8)
    plain = sizes.counted("net", 0, lambda: net(x), backward=True)
    again = sizes.counted("net", 0, lambda: net(x), backward=True, again=net)
    row = 4 * 3 * 8
    assert plain.kept == 3 * row  # what each sigmoid says, which is also what the next layer is given
    assert (
        again.kept == (2 + 2) * row
    )  # what goes into the last two; and of one of them, that and what it says
    forward = 2 * 3 * 3 * 8 * 8
    assert plain.flops == 3 * forward - 2 * 3 * 8 * 8 and again.flops == plain.flops + forward


def test_attentions_matrices_are_told_from_the_rest():
    def attended(count: int) -> sizes.Cost:
        with torch.device("meta"):
            x = torch.empty(1, count, 4, requires_grad=True)
        return sizes.counted("x", 0, lambda: (x * 1 @ (x * 1).mT).softmax(-1), backward=True)

    many, few = attended(sizes.MANY_TOKENS), attended(sizes.MANY_TOKENS - 1)
    assert many.matrices == 4 * sizes.MANY_TOKENS**2  # the softmax keeps its answer
    assert many.kept == many.matrices + 2 * 4 * 4 * sizes.MANY_TOKENS and few.matrices == 0


def test_moments_by_hand():
    """Frozen 10, encoder 1 (keeps 5, 1 of it attention's), LoRA 4 (keeps 7, 2), copy 16 (keeps 3, 1)."""
    rows = [(10, 0, 0), (1, 5, 1), (4, 7, 2), (16, 3, 1)]
    costs = [sizes.Cost("", held, 0, kept, matrices) for held, kept, matrices in rows]
    learns, distils = sizes.moments(costs, offload=False, lora=False)
    assert learns == (10 + 1 + 4 + 16 + 2, 34) and distils == (10 + 1 + 4 + 12 + 5 + 7 - 3, 39)
    assert sizes.moments(costs, offload=True, lora=False) == ((23, 24), distils)
    assert sizes.moments(costs, offload=True, lora=True) == ((24, 26), (27, 30))
    assert sizes.moments(costs, offload=False, lora=True) == ((24, 26), (27, 30))
    assert sizes.ways(costs).count("\n") == 5


def test_minutes_by_hand():
    """1 + 1 + 3 operations a step of the shapes (7 are of the picture), 1 + 1 + 2 or 10 of the colours."""
    shapes, colours = (
        [sizes.Cost("", 0, flops, 0, 0) for flops in row] for row in ((1, 1, 3, 7), (1, 1, 2, 10))
    )
    lines = sizes.minutes(shapes, colours, 100.0).splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    found = {row[0]: float(row[3]) for row in cells}  # to a tenth of a minute
    learnt, distilled, augmented = 1000 * 10 / 6000, 2000 * 5 / 6000, 40 * 12 / 6000
    expected = {"coarse": 2500 * 5 / 6000, "fine": 5000 * 5 / 6000}
    expected |= {"texture, DreamBooth learns": learnt, "texture, it distils": distilled}
    expected["texture, renders are augmented"] = augmented
    assert found == pytest.approx(expected | {"all": sum(expected.values())}, abs=0.06)


def test_steps_are_those_of_the_paper_experiment():
    """At which weights are not zero."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        stages = resolved(hydra.compose("config", ["experiment=dreamcraft3d/paper"]))["stages"]
    found = {}
    for stage, name, key in (
        ("coarse", "view", "coarse"),
        ("fine", "view", "fine"),
        ("texture", "dreambooth", "texture, renders are augmented"),
        ("texture", "dreambooth", "texture, DreamBooth learns"),
        ("texture", "texture", "texture, it distils"),
    ):
        told = stages[stage]["system"]["weights"][name]
        weight = as_schedule(hydra.utils.instantiate(told) if isinstance(told, dict) else told)
        every = stages["texture"]["system"]["refresh_every"] if key == "texture, renders are augmented" else 1
        found[key] = sum(weight(step) != 0 for step in range(0, stages[stage]["trainer"]["max_steps"], every))
    assert found == sizes.STEPS


@pytest.mark.slow
def test_the_paper_experiment():
    zero123, dreambooth = list(sizes.geometry())[1], list(sizes.texture())[3]
    assert zero123.held == 4 * 859_532_484
    assert dreambooth.held == 16 * 865_910_724 and dreambooth.kept / sizes.GIB < 1
