"""A trainable copy of a prior's denoiser, told the camera: the DreamBooth model (Ruiz et al. 2022) of BSD.

The whole network moves, as in DreamBooth; for a denoiser of some million weights that costs little. At
published sizes, where a copy and its optimiser's moments may not fit, `lora.LoRA` fits the same slot. What a
backward pass needs of each block can be computed again (Chen et al. 2016).
"""

from __future__ import annotations

import copy

from jaxtyping import Float, Int
from torch import Tensor, nn

from threestudio_like.priors.base import Condition, Learner, Prior
from threestudio_like.priors.lora import CameraEmbedding, time_channels, unet_of
from threestudio_like.priors.residency import bare


class DreamBooth(Learner):
    """The prior with its denoiser copied in float32; encoders and text stay the frozen ones.

    checkpointing: compute each block again in the backward pass: less memory, a third more time.
    """

    def __init__(self, *, prior: Prior, checkpointing: bool) -> None:
        super().__init__(prior=prior)
        name, denoiser = denoiser_of(prior)
        self.denoiser = copy.deepcopy(bare(denoiser)).float().requires_grad_(True)
        if checkpointing:
            unet_of(self.denoiser).enable_gradient_checkpointing()  # type: ignore[operator]
        self.camera = CameraEmbedding(channels=time_channels(unet_of(self.denoiser)))
        self._twin = (twin(prior, name, self.denoiser),)

    def predict(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], condition: Condition
    ) -> Float[Tensor, "B C h w"]:
        """The noise, as the fine-tuned network sees it."""
        inner, camera = self.split(condition)
        with self.camera.joined(unet_of(self.denoiser), camera):
            return self._twin[0].predict(x_t, t, inner)


def denoiser_of(prior: Prior) -> tuple[str, nn.Module]:
    """The part of a prior that has its U-Net, and that part's name."""
    unet = unet_of(prior)
    for name, child in prior.named_children():
        if any(module is unet for module in child.modules()):
            return name, child
    raise ValueError(f"{type(prior).__name__} is itself a U-Net; it should hold one")


def twin(prior: Prior, name: str, part: nn.Module) -> Prior:
    """The same prior, sharing everything with it but the part `name`."""
    other = copy.copy(prior)
    other._modules = dict(prior._modules)
    other._modules[name] = part
    return other
