"""Low-rank adaptation (Hu et al. 2021): W x + alpha/rank B A x, with W frozen, B zero at the start.

In a float16 network gradients are magnified, so that they do not vanish on their way to the pairs (loss
scaling, Micikevicius et al. 2018, section 3.2); what the pairs get is of the right size again.

The pairs A, B live here and reach the frozen layers through forward hooks that last for one prediction. So
the prior keeps its layers, their names and its exact answers, and several adapters may share it. (peft would
put its own layers in their place, which renames the prior's weights.) Activation checkpointing is not
supported: by the time of the backward pass the hooks are gone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import Function

from threestudio_like.priors.base import Condition, Learner, Prior
from threestudio_like.ranges import Count, Positive

# of gradients in a float16 network: a tenth of a mean over 64 x 64 x 4 begins below its least normal number
HALF_GAIN = 2.0**12


class LoRA(Learner):
    """A frozen prior with low-rank pairs at some layers of its U-Net, told the camera.

    Args:
        rank, alpha: of each pair.
        targets: endings of the names of linear and convolutional layers, such as `to_q` or `conv1`.
    """

    def __init__(self, *, prior: Prior, rank: Count, alpha: Positive, targets: list[str]) -> None:
        super().__init__(prior=prior)
        self.scale = alpha / rank
        unet = unet_of(prior)
        self.pairs = nn.ModuleDict(
            {name.replace(".", "/"): LowRank(layer, rank) for name, layer in chosen_layers(unet, targets)}
        )
        self.camera = CameraEmbedding(channels=time_channels(unet))

    def predict(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], condition: Condition
    ) -> Float[Tensor, "B C h w"]:
        """The noise, as the adapted network sees it."""
        inner, camera = self.split(condition)
        unet = unet_of(self.prior)
        gain = HALF_GAIN if next(unet.parameters()).dtype == torch.float16 else 1.0
        with ExitStack() as hooks:
            hooks.enter_context(self.camera.joined(unet, camera, gain))
            for name, pair in self.pairs.items():
                layer = unet.get_submodule(name.replace("/", "."))
                hooks.enter_context(added(layer, pair, self.scale, gain))
            answer = self.prior.predict(magnified(x_t, 1 / gain), t, inner)
        return magnified(answer, gain)


class LowRank(nn.Module):
    """B A for one layer, in float32 whatever the layer's precision."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int) -> None:
        super().__init__()
        self.down: nn.Linear | nn.Conv2d
        self.up: nn.Linear | nn.Conv2d
        if isinstance(layer, nn.Linear):
            self.down = nn.Linear(layer.in_features, rank, bias=False)
            self.up = nn.Linear(rank, layer.out_features, bias=False)
        else:
            self.down = nn.Conv2d(
                layer.in_channels,
                rank,
                layer.kernel_size,  # type: ignore[arg-type]
                layer.stride,  # type: ignore[arg-type]
                layer.padding,  # type: ignore[arg-type]
                layer.dilation,  # type: ignore[arg-type]
                bias=False,
            )
            self.up = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """B A x."""
        return self.up(self.down(x.to(self.up.weight.dtype)))


class Magnified(Function):
    """x, whose gradient is `gain` times as large."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: float) -> Tensor:  # type: ignore[override]
        """x."""
        ctx.gain = gain
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        """The gradient of x; the gain has none."""
        return ctx.gain * grad, None


def magnified(x: Tensor, gain: float) -> Tensor:
    """x itself where nothing is magnified."""
    return x if gain == 1.0 else Magnified.apply(x, gain)


class CameraEmbedding(nn.Module):
    """The flattened c2w as something to add to a U-Net's time embedding of `channels`; zero at the start."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        last = nn.Linear(channels, channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(Learner.camera_channels, channels), nn.SiLU(), last)

    @contextmanager
    def joined(self, unet: nn.Module, camera: Float[Tensor, "B 16"], gain: float = 1.0) -> Iterator[None]:
        """While it lasts, the U-Net's time embedding knows the camera, with gradients `gain` times theirs."""
        embedded = magnified(self.layers(camera.float()), 1 / gain)
        time_embedding = unet.get_submodule("time_embedding")
        handle = time_embedding.register_forward_hook(lambda _, __, out: out + embedded.to(out.dtype))
        try:
            yield
        finally:
            handle.remove()


@contextmanager
def added(layer: nn.Module, extra: nn.Module, scale: float, gain: float) -> Iterator[None]:
    """While it lasts, `layer(x)` gives layer(x) + scale extra(x).

    Gradients are `gain` times as large around it: in `extra` as they should be, and beyond it as they came.
    """

    def told(_: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        inner = magnified(args[0].float(), gain)
        return out + scale * magnified(extra(inner), 1 / gain).to(out.dtype)

    handle = layer.register_forward_hook(told)
    try:
        yield
    finally:
        handle.remove()


def unet_of(prior: nn.Module) -> nn.Module:
    """The one diffusers U-Net in a prior: what adapters adapt."""
    found = [module for module in prior.modules() if isinstance(module, UNet2DModel | UNet2DConditionModel)]
    if len(found) != 1:
        raise ValueError(f"{type(prior).__name__} has {len(found)} U-Nets of diffusers; adapters need one")
    return found[0]


def time_channels(unet: nn.Module) -> int:
    """Of its time embedding."""
    last = unet.get_submodule("time_embedding.linear_2")
    assert isinstance(last, nn.Linear)
    return last.out_features


def chosen_layers(unet: nn.Module, targets: list[str]) -> list[tuple[str, nn.Linear | nn.Conv2d]]:
    """Linear and convolutional layers whose names end in one of `targets`; each ending must be met."""
    modules = unet.named_modules()
    layers = {f".{name}": layer for name, layer in modules if isinstance(layer, nn.Linear | nn.Conv2d)}
    for target in targets:
        if not any(name.endswith(f".{target}") for name in layers):
            raise ValueError(f"targets: no linear or convolutional layer's name ends in {target!r}")
    endings = tuple(f".{target}" for target in targets)
    return [(name[1:], layer) for name, layer in layers.items() if name.endswith(endings)]
