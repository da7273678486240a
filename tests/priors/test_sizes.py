"""What is counted, against a case by hand; the published sizes are held where their networks are tested."""

import pytest
import torch
from torch import nn

from threestudio_like.priors import sizes


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


@pytest.mark.slow
def test_the_paper_experiment():
    zero123, dreambooth = list(sizes.geometry())[1], list(sizes.texture())[3]
    assert zero123.held == 4 * 859_532_484
    assert dreambooth.held == 16 * 865_910_724 and dreambooth.kept / sizes.GIB < 1
