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


@pytest.mark.slow
def test_the_paper_experiment():
    zero123, dreambooth = list(sizes.geometry())[1], list(sizes.texture())[2]
    assert zero123.held == 4 * 859_532_484
    assert dreambooth.held == 16 * 865_910_724 and 1 < dreambooth.kept / sizes.GIB < 8
