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


@pytest.mark.slow
def test_the_paper_experiment():
    zero123, dreambooth = list(sizes.geometry())[1], list(sizes.texture())[2]
    assert zero123.held == 4 * 859_532_484
    assert dreambooth.held == 16 * 865_910_724 and dreambooth.kept / sizes.GIB < 1
