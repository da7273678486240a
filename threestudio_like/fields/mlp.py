"""A plain multilayer perceptron, the network behind a hash grid."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "softplus": lambda: nn.Softplus(beta=100),  # a smooth ReLU, for second derivatives
}


class MLP(nn.Module):
    """Linear layers with an activation between them.

    Args:
        num_inputs, num_outputs: features in and out.
        width: units of a hidden layer.
        depth: hidden layers; 0 is a single linear layer.
        activation: relu or softplus.
        bias: whether layers add one.
        zero: start as the zero function, so that what this is added to starts exactly as it is.
        exact: stay in float32 when a trainer asks for half precision, as distances and densities must: finite
            differences of theirs are normals.
    """

    def __init__(
        self,
        *,
        num_inputs: int,
        num_outputs: int,
        width: int,
        depth: int,
        activation: str,
        bias: bool,
        zero: bool,
        exact: bool,
    ) -> None:
        super().__init__()
        self.exact = exact
        self.rough: torch.dtype | None = None  # what matrices are multiplied in, if not as they are
        if activation not in ACTIVATIONS:
            choices = ", ".join(ACTIVATIONS)
            raise ValueError(f"fields.mlp.activation: no {activation!r}; choose one of {choices}")
        layers: list[nn.Module] = []
        for wide, next_wide in pairwise([num_inputs, *[width] * depth, num_outputs]):
            layers += [nn.Linear(wide, next_wide, bias=bias), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers[:-1])
        if zero:
            for parameter in self.layers[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, features: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """Any real values, in the precision of what is read."""
        if self.rough is None:
            return self.layers(features)
        with torch.autocast(features.device.type, self.rough):
            return self.layers(features).to(features.dtype)
