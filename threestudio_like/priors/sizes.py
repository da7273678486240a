"""What the published networks cost a step of `experiment=dreamcraft3d/paper`: calculated, not measured.

The networks are built at their published sizes on torch's meta device, where nothing is stored or computed:
parameters, floating-point operations (a multiplication and an addition are two) and the bytes that a
backward pass keeps are counted. Attention keeps its matrices here; a fused kernel keeps none, so those bytes
are a bound. What a forward pass alone needs for a moment, and the renderer, are in no sum.

    python -m threestudio_like.priors.sizes

Minutes are those operations at a rate that a user supposes: what the networks need, if nothing else did.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from threestudio_like.priors.base import Condition, Prior
from threestudio_like.priors.lora import LoRA

FIRST: dict[str, Any] = {"cross_attention_dim": 768, "sample_size": 64}
SECOND: dict[str, Any] = {
    "cross_attention_dim": 1024,
    "sample_size": 64,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
ZERO123: dict[str, Any] = {"cross_attention_dim": 768, "sample_size": 32, "in_channels": 8}
XL: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "use_linear_projection": True,
}
VERSIONS = {"1.x": FIRST, "2.x": SECOND, "xl": XL}  # of Stable Diffusion
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
}
# of `paper`'s stages: those at which the priors are asked, or learn
STEPS = {
    "coarse": 2500,
    "fine": 5000,
    "texture, renders are augmented": 40,
    "texture, DreamBooth learns": 1000,
    "texture, it distils": 2000,
}
DENOISED = 12  # steps of an augmented render, at most
CLIP: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 224,
    "projection_dim": 768,
}
GIB = 2**30
MANY_TOKENS = 1024


def deepfloyd(**changes: Any) -> dict[str, Any]:
    """Arguments of IF-I-XL's U-Net, or of one that is like it."""
    deep = len(changes.setdefault("block_out_channels", (704, 1408, 2112, 2816))) - 1
    return {
        "sample_size": 64,
        "in_channels": 3,
        "out_channels": 6,
        "down_block_types": ("ResnetDownsampleBlock2D", *["SimpleCrossAttnDownBlock2D"] * deep),
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "up_block_types": (*["SimpleCrossAttnUpBlock2D"] * deep, "ResnetUpsampleBlock2D"),
        "layers_per_block": 3,
        "mid_block_scale_factor": 2**0.5,
        "act_fn": "gelu",
        "cross_attention_dim": changes["block_out_channels"][-1],
        "cross_attention_norm": "group_norm",
        "encoder_hid_dim": 4096,
        "encoder_hid_dim_type": "text_proj",
        "attention_head_dim": 64,
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": 64,
        "resnet_time_scale_shift": "scale_shift",
        "resnet_skip_time_act": True,
        "resnet_out_scale_factor": 2**0.5,
    } | changes


class Cost(NamedTuple):
    """Of one thing that a step does."""

    what: str
    held: int  # bytes that stay: weights, and what learns them
    flops: int
    kept: int  # bytes that the forward pass keeps for the backward pass
    matrices: int  # of these, attention's, which a fused kernel does not keep


class Kept:
    """What is kept for a backward pass: storages, each once."""

    def __init__(self) -> None:
        self.storages: dict[int, Any] = {}
        self.matrices = 0  # bytes of attention's, of many tokens; no picture has such sides

    def note(self, value: Tensor) -> Tensor:
        """Count it, unless it is a weight or was given."""
        source = value if value._base is None else value._base  # layers keep views of their weights
        if not isinstance(source, nn.Parameter) and not value.is_leaf:
            storage = value.untyped_storage()
            if storage._cdata not in self.storages and min(value.shape[-2:], default=0) >= MANY_TOKENS:
                self.matrices += storage.nbytes()
            self.storages[storage._cdata] = storage  # held, so that no other gets its address
        return value

    def watching(self) -> Any:
        """Count what is kept while this lasts."""
        return torch.autograd.graph.saved_tensors_hooks(self.note, lambda value: value)

    @property
    def bytes(self) -> int:
        """Of all of them."""
        return sum(storage.nbytes() for storage in self.storages.values())


def counted(
    what: str, held: int, call: Callable[[], Tensor], *, backward: bool, again: Any | None = None
) -> Cost:
    """Run `call` and, if asked, the backward pass of its sum; `call` works on the meta device.

    again: the network of diffusers whose blocks the backward pass computes again; what goes into each is
    kept, and the inside of one at a time.
    """
    kept, inside = Kept(), [(0, 0)]

    def block(module: nn.Module, *args: Any) -> Any:
        for value in args:
            if isinstance(value, Tensor):
                kept.note(value)
        own = Kept()
        with own.watching():
            answer = module(*args)
        with torch.no_grad():
            module(*args)
        inside.append((own.bytes, own.matrices))
        return answer

    if again is not None:
        again.enable_gradient_checkpointing(block)
    counter = FlopCounterMode(display=False)
    with counter, kept.watching(), torch.set_grad_enabled(backward):
        answer = call()
        if backward:
            answer.sum().backward()
    once, matrices = max(inside)
    return Cost(what, held, counter.get_total_flops(), kept.bytes + once, kept.matrices + matrices)


def weights(network: nn.Module) -> int:
    """Bytes of its parameters."""
    return sum(value.numel() * value.element_size() for value in network.parameters())


def asking(sizes: dict[str, Any], tokens: tuple[int, int], batch: int, dtype: torch.dtype) -> tuple[Any, Any]:
    """A U-Net on the meta device, frozen, and the call that asks it about `batch` pictures."""
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel(**sizes)
        nn.Module.to(unet.requires_grad_(False), dtype)  # diffusers' own warns
        side = sizes["sample_size"]
        x = torch.empty(batch, sizes.get("in_channels", 4), side, side, dtype=dtype)
        told, t = torch.empty(batch, *tokens, dtype=dtype), torch.empty(batch)
    return unet, lambda: unet(x, t, encoder_hidden_states=told, return_dict=False)[0]


def encoding(side: int, dtype: torch.dtype) -> Cost:
    """The autoencoder's mean of one picture, and the gradient back to its pixels."""
    with torch.device("meta"):
        vae: Any = AutoencoderKL(**VAE)
        nn.Module.to(vae.requires_grad_(False), dtype)
        x = torch.empty(1, 3, side, side, dtype=dtype, requires_grad=True)
    what = f"autoencoder, {side} px, to latents and back to pixels' gradients"
    return counted(what, weights(vae), lambda: vae.encode(x * 1).latent_dist.mean, backward=True)


def geometry() -> Iterator[Cost]:
    """The guidance steps of the stages coarse and fine."""
    unet, call = asking(deepfloyd(), (77, 4096), 4, torch.float16)
    yield counted("IF-I-XL, float16, under 4 conditions (Perp-Neg)", weights(unet), call, backward=False)
    unet, call = asking(ZERO123, (1, 768), 2, torch.float32)
    yield counted("Stable Zero123, float32, under 2 conditions", weights(unet), call, backward=False)
    yield encoding(256, torch.float32)
    with torch.device("meta"):
        clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP))
        pixels = torch.empty(1, 3, 224, 224)
    once = "CLIP's picture encoder, float32, once for each picture"
    yield counted(once, weights(clip), lambda: clip(pixel_values=pixels).image_embeds, backward=False)


def texture() -> Iterator[Cost]:
    """The steps of the stage texture; DreamBooth's copy learns in float32, with Adam's two moments.

    Its blocks are computed again, as the experiment says (`dreambooth.checkpointing`).
    """
    unet, call = asking(SECOND, (77, 1024), 2, torch.float16)
    yield counted("SD 2.1-base, float16, under 2 conditions", weights(unet), call, backward=False)
    yield encoding(512, torch.float16)
    yield adapting()
    unet, call = asking(SECOND, (77, 1024), 1, torch.float16)
    unet.requires_grad_(True)
    masters = 8 * weights(unet)  # weights, gradients and two moments, each of twice the bytes
    yield counted(
        "DreamBooth: a training step of a copy in float32", masters, call, backward=True, again=unet
    )


class Stub(Prior):
    """A U-Net and no more, as adapters ask it."""

    schedule, shape = None, (4, 64, 64)  # type: ignore[assignment]

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """What the U-Net says."""
        return self.unet(x_t, t, encoder_hidden_states=condition.tokens, return_dict=False)[0]


def adapting() -> Cost:
    """A training step of `lora.yaml`'s pairs, in float32, beside the frozen network."""
    unet, _ = asking(SECOND, (77, 1024), 1, torch.float16)
    with torch.device("meta"):
        lora = LoRA(prior=Stub(unet), rank=4, alpha=4.0, targets=["to_q", "to_k", "to_v", "to_out.0"])
        x, t = torch.empty(1, 4, 64, 64, dtype=torch.float16), torch.empty(1, dtype=torch.int64)
        tokens = torch.empty(1, 77, 1024, dtype=torch.float16)
        told = Condition(tokens=tokens, vector=torch.empty(1, lora.camera_channels))
    held = 4 * weights(lora)  # with gradients and two moments
    return counted("LoRA: a training step", held, lambda: lora.predict(x, t, told), backward=True)


class Moment(NamedTuple):
    """Bytes on the device at their most: with fused attention, and with all of its matrices kept."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least / GIB:.1f} to {self.most / GIB:.1f}"


def moments(costs: list[Cost], *, offload: bool, lora: bool) -> tuple[Moment, Moment]:
    """While DreamBooth learns, and while renders are distilled: no step of the stage does both.

    costs: texture()'s. offload: the frozen U-Net is on the device only when it is asked; a LoRA asks it to
    learn, a copy does not. lora: in place of DreamBooth's copy.
    """
    frozen, encoder, adapter, copied = costs
    learner = adapter if lora else copied
    always = encoder.held + adapter.held
    first = always + learner.held + learner.kept + (0 if offload and not lora else frozen.held)
    idle = learner.held * 3 // 4  # its weights and moments; its gradients are gone
    # the score's LoRA learns while the autoencoder's part waits for the same backward pass
    second = always + idle + frozen.held + encoder.kept + adapter.kept
    return Moment(first - learner.matrices, first), Moment(
        second - encoder.matrices - adapter.matrices, second
    )


def ways(costs: list[Cost]) -> str:
    """Markdown: the texture stage's most, with each option."""
    head = "| texture (calculated), `dreambooth=` | `offload=` | it learns, GiB | it distils, GiB |"
    lines = [head, "|---|---|---:|---:|"]
    for lora in (False, True):
        for offload in (False, True):
            one, other = moments(costs, offload=offload, lora=lora)
            name = "lora" if lora else "dreambooth_checkpointed"
            lines.append(f"| `{name}` | `{str(offload).lower()}` | {one} | {other} |")
    return "\n".join(lines)


def table(name: str, costs: list[Cost]) -> str:
    """Markdown, with the sum of what stays."""
    lines = [f"| {name} (calculated) | held, GiB | TFLOP | kept for backward, GiB |", "|---|---:|---:|---:|"]
    for cost in costs:
        lines.append(
            f"| {cost.what} | {cost.held / GIB:.2f} | {cost.flops / 1e12:.2f} | {cost.kept / GIB:.2f} |"
        )
    held, most = sum(cost.held for cost in costs), max(cost.kept for cost in costs)
    return "\n".join([*lines, f"| all, and the most kept at once | {held / GIB:.2f} | | {most / GIB:.2f} |"])


def minutes(shapes: list[Cost], colours: list[Cost], rate: float) -> str:
    """Markdown: a stage's operations by its steps (STEPS), and its time at `rate` operations a second."""
    words, view, pixels, _ = (cost.flops for cost in shapes)  # the last one's once for a picture
    frozen, encoder, adapter, copied = (cost.flops for cost in colours)
    each = {
        "coarse": words + view + pixels,
        "fine": words + view + pixels,
        "texture, renders are augmented": DENOISED * frozen,
        "texture, DreamBooth learns": copied,
        # two conditions of DreamBooth's copy and one of the score's network, whose training encodes once more
        "texture, it distils": 1.5 * frozen + 1.5 * encoder + adapter,
    }
    head = f"| stage (calculated) | steps that ask | PFLOP | minutes at {rate / 1e12:g} TFLOP/s |"
    lines = [head, "|---|---:|---:|---:|"]
    work = {name: STEPS[name] * flops for name, flops in each.items()}
    rows = [
        *((name, str(STEPS[name]), flops) for name, flops in work.items()),
        ("all", "", sum(work.values())),
    ]
    lines += [
        f"| {name} | {steps} | {flops / 1e15:.1f} | {flops / rate / 60:.1f} |" for name, steps, flops in rows
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """All tables."""
    parser = argparse.ArgumentParser(prog="python -m threestudio_like.priors.sizes", description=__doc__)
    parser.add_argument("--rate", type=float, default=200, help="TFLOP/s that are supposed to be sustained")
    rate = 1e12 * parser.parse_args(arguments).rate
    if not rate > 0:
        parser.error("--rate: above 0")
    shapes, colours = list(geometry()), list(texture())
    parts = (table("coarse, fine", shapes), table("texture", colours), ways(colours))
    print(*parts, minutes(shapes, colours, rate), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
