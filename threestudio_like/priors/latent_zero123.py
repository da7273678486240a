"""Zero-1-to-3 as published (Liu et al. 2023): zero123, zero123-xl and stable-zero123.

x_t and the picture's latent (the posterior's mode, unscaled, as it was trained with) are 8 channels; one
token for cross-attention is cc_projection([CLIP's embedding of the picture, pose]). The pose is
(dtheta, sin dphi, cos dphi, w): w is the difference of distances, or, in stable-zero123, the polar angle of
the picture's own camera. Told nothing, both are zeros (the official sampling; training nulls otherwise).

    python -m threestudio_like.priors.latent_zero123 FILE     # what a conversion of FILE takes from where
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from threestudio_like.priors import checkpoint, ldm, openai_clip, sizes
from threestudio_like.priors.base import Condition
from threestudio_like.priors.latents import Latents, frozen
from threestudio_like.priors.pixels import resized
from threestudio_like.priors.pose import polar, relative_pose
from threestudio_like.priors.published import Precision, check_schedule, find, part
from threestudio_like.priors.residency import Residency
from threestudio_like.priors.untrained import RANDOM, made, or_random
from threestudio_like.records import Camera, View
from threestudio_like.schedule.vp import VP

log = logging.getLogger(__name__)
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training pictures
STD = (0.26862954, 0.26130258, 0.27577711)
PROJECTIONS = ("cc_projection", "clip_camera_projection")  # the two ports' names of it
NUM_POSE = 4


class Networks(NamedTuple):
    """What the weights hold."""

    unet: Any
    vae: Any
    encoder: Any  # CLIP's, of pictures
    projection: nn.Linear


class LatentZero123(Latents):
    """p(picture from the target camera | a picture, its camera), in latents of 256 pixels.

    weights: a name of the hub, a folder in diffusers' layout, an original checkpoint, or `random`
        (untrained.py).
    ema: take the averaged weights of an original checkpoint, as the official code does.
    fourth: the pose's last number: `distance`, or stable-zero123's `polar`.
    condition_scale: on the picture's latent; 1 for these families.
    residency: as Latents'.
    """

    published = staticmethod(or_random(find))  # a run looks for weights before it begins

    def __init__(
        self,
        *,
        schedule: VP,
        size: int,
        weights: str,
        ema: bool,
        fourth: Literal["distance", "polar"],
        condition_scale: float,
        precision: Precision,
        residency: Residency | None,
    ) -> None:
        if weights == RANDOM:
            networks = of_nothing(precision)
        else:
            path = find(weights)
            networks = of_folder(path, precision) if path.is_dir() else of_file(path, ema)[0]
            if path.is_dir():
                check_schedule(path, "eps", schedule.alpha_bar)
        super().__init__(
            schedule=schedule,
            size=size,
            unet=networks.unet,
            vae=networks.vae,
            prediction="eps",
            precision=precision,
            residency=residency,
        )
        self.encoder = frozen(networks.encoder, self.unet.dtype)
        self.projection = networks.projection.float().requires_grad_(False)
        self.fourth = fourth
        self.condition_scale = condition_scale
        self._told: tuple[Tensor, Tensor, Tensor] | None = None

    def condition(self, prompts: list[str], camera: Camera, reference: View | None) -> Condition:
        """One token of picture and pose, and the picture's latent; prompts are not used."""
        if reference is None:
            raise ValueError("zero123: needs a reference picture")
        embedding, latent = self.told(reference.rgba)
        count = len(camera.c2w)
        pose = self.pose(reference.camera, camera).to(embedding.dtype)
        token = self.projection(torch.cat([embedding.expand(count, -1), pose], dim=-1))
        return Condition(tokens=token[:, None], image=latent.expand(count, -1, -1, -1))

    def null(self, condition: Condition) -> Condition:
        """Zeros in place of both."""
        assert condition.tokens is not None and condition.image is not None
        return Condition(tokens=torch.zeros_like(condition.tokens), image=torch.zeros_like(condition.image))

    def pose(self, source: Camera, target: Camera) -> Float[Tensor, "B 4"]:
        """In this family's convention; the angles' are the house's own."""
        pose = relative_pose(source, target)
        if self.fourth == "distance":
            return pose
        return torch.cat([pose[:, :3], polar(source).expand(len(pose), 1)], dim=-1)

    @torch.no_grad()
    def told(self, rgba: Float[Tensor, "S H W 4"]) -> tuple[Float[Tensor, "S D"], Float[Tensor, "S C h w"]]:
        """CLIP's embedding and the latent of pictures; those of the same pictures are kept."""
        seen = self._told
        if (
            seen is None
            or seen[0].shape != rgba.shape
            or seen[0].device != rgba.device
            or (seen[0] != rgba).any()
        ):
            latent = self.posterior(rgba).mode().float() * self.condition_scale
            self._told = seen = (rgba.clone(), self.embedded(rgba), latent)
        return seen[1], seen[2]

    def embedded(self, rgba: Float[Tensor, "S H W 4"]) -> Float[Tensor, "S D"]:
        """CLIP's embedding of the pictures at `size`, over white; resampled as the official code does."""
        x = resized(rgba.permute(0, 3, 1, 2)[:, :3], self.size)
        side = self.encoder.config.image_size
        x = F.interpolate(x, (side, side), mode="bicubic", align_corners=True)
        x = (x - x.new_tensor(MEAN).view(3, 1, 1)) / x.new_tensor(STD).view(3, 1, 1)
        with torch.autocast(x.device.type, enabled=False):
            return self.encoder(pixel_values=x.to(self.encoder.dtype)).image_embeds.float()


def of_nothing(precision: Precision) -> Networks:
    """Of random numbers."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    encoder = made(CLIPVisionModelWithProjection, CLIPVisionConfig(**sizes.CLIP), precision)
    width = encoder.config.projection_dim
    return Networks(
        made(UNet2DConditionModel, sizes.ZERO123, precision),
        made(AutoencoderKL, sizes.VAE, precision),
        encoder,
        nn.Linear(width + NUM_POSE, width),
    )


def of_folder(folder: Path, precision: Precision) -> Networks:
    """In diffusers' layout; the projection's file is one of two ports'."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    place = next((folder / name for name in PROJECTIONS if (folder / name).is_dir()), None)
    if place is None:
        raise ValueError(f"weights: {folder} has no {' or '.join(PROJECTIONS)}: not a Zero-1-to-3")
    files = sorted(file for file in place.iterdir() if file.suffix in (".safetensors", ".bin"))
    if not files:
        raise ValueError(f"weights: {place} has no weights")
    state = checkpoint.tensors(files[-1])
    return Networks(
        part(UNet2DConditionModel, folder, "unet", precision),
        part(AutoencoderKL, folder, "vae", precision),
        part(CLIPVisionModelWithProjection, folder, "image_encoder", precision),
        linear({name.rpartition(".")[2]: value for name, value in state.items()}, files[-1]),
    )


def of_file(path: Path, ema: bool) -> tuple[Networks, ldm.Report]:
    """An original checkpoint, converted; and what came from where."""
    state = checkpoint.tensors(path)
    unet, of_unet = ldm.unet(state, ema)
    vae, of_vae = ldm.vae(state)
    encoder, of_encoder = openai_clip.encoder(state)
    own = {name: f"cc_projection.{name}" for name in ("weight", "bias")}
    projection = linear({name: state[old] for name, old in own.items() if old in state}, path)
    taken: dict[str, str] = {}
    parts = {"unet": of_unet, "vae": of_vae, "image_encoder": of_encoder, "cc_projection": own}
    for name, found in parts.items():
        taken |= {f"{name}.{new}": old for new, old in found.items()}
    report = ldm.Report(taken, sorted(set(state) - set(taken.values())))
    log.info("%s: %d tensors converted, %d not needed", path.name, len(taken), len(report.left))
    return Networks(unet, vae, encoder, projection), report


def linear(state: dict[str, Tensor], path: Path) -> nn.Linear:
    """The projection of embedding and pose."""
    if set(state) != {"weight", "bias"}:
        raise ValueError(f"weights: {path} has no weight and bias of cc_projection: not a Zero-1-to-3")
    width, told = state["weight"].shape
    if told != width + NUM_POSE:
        raise ValueError(f"weights: {path}: cc_projection takes {told} numbers, not {width} and {NUM_POSE}")
    made = nn.Linear(told, width)
    made.load_state_dict(state)
    return made


if __name__ == "__main__":
    print(*of_file(find(sys.argv[1]), ema=True)[1].lines(), sep="\n")
