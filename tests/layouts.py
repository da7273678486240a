"""Random networks of the published architectures at reduced width, saved in each published layout."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from threestudio_like.priors import ldm, mmdit, openai_clip, sizes

TOKEN = 16


def unet(**changes: Any) -> UNet2DConditionModel:
    """Stable Diffusion's, of three levels."""
    torch.manual_seed(1)
    values = {
        "block_out_channels": (32, 32, 64),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": TOKEN,
        "sample_size": 8,
    }
    return randomised(UNet2DConditionModel(**values | changes))


def vae(**changes: Any) -> AutoencoderKL:
    """Its autoencoder: of 16 pixels, latents of 8."""
    torch.manual_seed(2)
    types = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return AutoencoderKL(
        block_out_channels=(32, 32), layers_per_block=1, **{"latent_channels": 4} | changes, **types
    )


def clip() -> CLIPVisionModelWithProjection:
    """CLIP's encoder of pictures."""
    torch.manual_seed(3)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 1}
    config = CLIPVisionConfig(**sizes, patch_size=4, image_size=16, projection_dim=TOKEN)
    return CLIPVisionModelWithProjection(config)


def projection() -> nn.Linear:
    """Of embedding and pose."""
    torch.manual_seed(4)
    return nn.Linear(TOKEN + 4, TOKEN)


def randomised(module: Any) -> Any:
    """Norms and biases other than ones and zeros, so that none can take another's place."""
    with torch.no_grad():
        for value in module.parameters():
            if value.ndim == 1:
                value.add_(0.1 * torch.randn_like(value))
    return module


def zero123_folder(folder: Path, port: str = "cc_projection") -> Path:
    """As ports to diffusers have it."""
    unet(in_channels=8).save_pretrained(folder / "unet")
    vae().save_pretrained(folder / "vae")
    clip().save_pretrained(folder / "image_encoder")
    scheduler().save_pretrained(folder / "scheduler")
    (folder / port).mkdir()
    prefix = {"cc_projection": "projection", "clip_camera_projection": "proj"}[port]
    state = {f"{prefix}.{name}": value for name, value in projection().state_dict().items()}
    save_file(state, folder / port / "diffusion_pytorch_model.safetensors")
    return folder


def scheduler(**changes: Any) -> DDIMScheduler:
    """Stable Diffusion's noise."""
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return DDIMScheduler(**betas | changes, clip_sample=False, set_alpha_to_one=False, steps_offset=1)


def ldm_unet(network: nn.Module) -> dict[str, Tensor]:
    """Under the names of the original code."""
    config: Any = network.config
    plain = [not hasattr(block, "attentions") for block in network.up_blocks]  # type: ignore[union-attr]
    return {
        "model.diffusion_model." + ldm.unet_source(name, config.layers_per_block, plain): value
        for name, value in network.state_dict().items()
    }


def ldm_vae(network: AutoencoderKL) -> dict[str, Tensor]:
    """Under the names of the original code, attention as 1x1 convolutions."""
    levels, state = len(network.config.block_out_channels), {}
    for name, value in network.state_dict().items():
        matrix = "attentions" in name and value.ndim == 2
        state["first_stage_model." + ldm.vae_source(name, levels)] = (
            value[..., None, None] if matrix else value
        )
    return state


def openai_visual(network: nn.Module) -> dict[str, Tensor]:
    """Under OpenAI's names, queries, keys and values in one."""
    state, own = {}, network.state_dict()
    for name, value in own.items():
        old = openai_clip.VISUAL + openai_clip.source(name)
        if ".q_proj." in name:
            value = torch.cat([own[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"])
        if ".k_proj." not in name and ".v_proj." not in name:
            state[old] = value.T.contiguous() if name.startswith("visual_projection") else value
    return state


def zero123_state() -> dict[str, Tensor]:
    """As the authors' own code has it, averaged weights that are half as large, and what is left over."""
    network = ldm_unet(unet(in_channels=8))
    state = {name: value.clone() for name, value in network.items()}
    for name, value in network.items():
        state["model_ema." + name.removeprefix("model.").replace(".", "")] = 0.5 * value
    state |= ldm_vae(vae()) | openai_visual(clip())
    state |= {f"cc_projection.{name}": value for name, value in projection().state_dict().items()}
    return state | {"betas": torch.rand(1000), "cond_stage_model.model.logit_scale": torch.tensor(4.6)}


def zero123_file(path: Path, state: Mapping[str, Tensor] | None = None, **more: Any) -> Path:
    """A checkpoint of Lightning's, or safetensors, by the name's ending."""
    state = dict(zero123_state() if state is None else state)
    if path.suffix == ".safetensors":
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    else:
        torch.save({"state_dict": state, "global_step": 7, **more}, path)
    return path


def tokenizer() -> CLIPTokenizer:
    """CLIP's, whose words are all spelt out."""
    letters = list("abcdefghijklmnopqrstuvwxyz,.'")
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=12)


def text_config(width: int) -> CLIPTextConfig:
    """CLIP's encoder of text, of two layers."""
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2}
    ends = {"bos_token_id": 58, "eos_token_id": 59, "pad_token_id": 59}
    more = {"num_attention_heads": 2, "vocab_size": 60, "max_position_embeddings": 12, "projection_dim": 8}
    return CLIPTextConfig(**sizes, **more, **ends)


def stable_diffusion_folder(folder: Path, prediction_type: str = "epsilon") -> Path:
    """As the hub has 1.x and 2.x."""
    unet().save_pretrained(folder / "unet")
    vae().save_pretrained(folder / "vae")
    scheduler(prediction_type=prediction_type).save_pretrained(folder / "scheduler")
    tokenizer().save_pretrained(folder / "tokenizer")
    torch.manual_seed(5)
    CLIPTextModel(text_config(TOKEN)).save_pretrained(folder / "text_encoder")
    return folder


def xl_unet() -> UNet2DConditionModel:
    """XL's: told a summary of 8 numbers and 6 sizes of 256 waves each."""
    told = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
    return unet(
        **told,
        projection_class_embeddings_input_dim=8 + 6 * 256,
        block_out_channels=(64, 64, 64),
        use_linear_projection=True,
        attention_head_dim=(1, 1, 1),
    )


def xl_folder(folder: Path) -> Path:
    """As the hub has XL."""
    xl_unet().save_pretrained(folder / "unet")
    vae(scaling_factor=0.13025, force_upcast=True).save_pretrained(folder / "vae")
    scheduler().save_pretrained(folder / "scheduler")
    for number in ("", "_2"):
        tokenizer().save_pretrained(folder / f"tokenizer{number}")
    torch.manual_seed(5)
    CLIPTextModel(text_config(6)).save_pretrained(folder / "text_encoder")
    CLIPTextModelWithProjection(text_config(TOKEN - 6)).save_pretrained(folder / "text_encoder_2")
    return folder


def flowing(heads: int = 2, head: int = 8, **changes: Any) -> SD3Transformer2DModel:
    """Stable Diffusion 3's, of two blocks."""
    torch.manual_seed(1)
    widths = {"num_attention_heads": heads, "attention_head_dim": head}
    told = {"joint_attention_dim": 40, "pooled_projection_dim": 16, "caption_projection_dim": heads * head}
    shapes = {"sample_size": 8, "in_channels": 16, "out_channels": 16, "pos_embed_max_size": 8}
    return randomised(SD3Transformer2DModel(num_layers=2, **shapes, **told, **widths, **changes))


def vae_3() -> AutoencoderKL:
    """Stable Diffusion 3's autoencoder."""
    noise = {"scaling_factor": 1.5305, "shift_factor": 0.0609, "force_upcast": True}
    return vae(latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, **noise)


def single_3(network: SD3Transformer2DModel) -> dict[str, Tensor]:
    """Under the names of Stability's file: queries, keys and values in one, the last layers' shift first."""
    state, own = {}, network.state_dict()
    for name, value in own.items():
        old, last = "model.diffusion_model." + mmdit.source(name), network.config.num_layers - 1
        if old.endswith(("qkv.weight", "qkv.bias")):
            letters = [letter for letter in "qkv" if f"_{letter}" in name]
            value = torch.cat([own[name.replace(f"_{letters[0]}", f"_{letter}")] for letter in "qkv"])
        state[old] = mmdit.piece(name, value, last) if "qkv" not in old else value
    return state


def stable_diffusion_3_folder(folder: Path, **changes: Any) -> Path:
    """As the hub has 3 and 3.5."""
    flowing(**changes).save_pretrained(folder / "transformer")
    vae_3().save_pretrained(folder / "vae")
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
    torch.manual_seed(5)
    for number in ("", "_2"):
        tokenizer().save_pretrained(folder / f"tokenizer{number}")
        CLIPTextModelWithProjection(text_config(TOKEN)).save_pretrained(folder / f"text_encoder{number}")
    t5(folder, "_3", 40)
    return folder


def t5(folder: Path, number: str, width: int) -> None:
    """T5 of one layer, and its tokenizer."""
    words = ["<pad>", "</s>", "<unk>", "\u2581", *"abcdefghijklmnopqrstuvwxyz,"]
    T5Tokenizer(vocab=[(word, -float(i)) for i, word in enumerate(words)], extra_ids=0).save_pretrained(
        folder / f"tokenizer{number}"
    )
    config = T5Config(
        vocab_size=32,
        d_model=width,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    T5EncoderModel(config).save_pretrained(folder / f"text_encoder{number}")


def deepfloyd_sizes() -> dict[str, Any]:
    """IF-I-XL's, reduced."""
    small = {"attention_head_dim": 16, "encoder_hid_dim": TOKEN, "addition_embed_type_num_heads": 2}
    widths = {"block_out_channels": (32, 32), "layers_per_block": 1, "sample_size": 8}
    return sizes.deepfloyd(**widths, **small)


def deepfloyd_folder(folder: Path) -> Path:
    """As the hub has IF-I-XL."""
    torch.manual_seed(6)
    UNet2DConditionModel(**deepfloyd_sizes()).save_pretrained(folder / "unet")
    scheduler(beta_schedule="squaredcos_cap_v2").save_pretrained(folder / "scheduler")
    t5(folder, "", TOKEN)
    return folder


def marigold_folder(folder: Path, told: Mapping[str, Any] | None = None) -> Path:
    """As the hub has Marigold of depth; `told` is what its model_index.json says."""
    unet(in_channels=8).save_pretrained(folder / "unet")
    randomised(vae()).save_pretrained(folder / "vae")
    scheduler(prediction_type="v_prediction", timestep_spacing="trailing").save_pretrained(
        folder / "scheduler"
    )
    tokenizer().save_pretrained(folder / "tokenizer")
    torch.manual_seed(5)
    CLIPTextModel(text_config(TOKEN)).save_pretrained(folder / "text_encoder")
    (folder / "model_index.json").write_text(json.dumps(told or {"prediction_type": "depth"}))
    return folder


def depth_anything_folder(folder: Path, kind: str = "relative") -> Path:
    """As the hub has Depth Anything, V1 and V2: one network, beside its config.json."""
    torch.manual_seed(7)
    backbone = Dinov2Config(
        image_size=56,
        patch_size=14,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=1 if kind == "relative" else 20,
    )
    network = DepthAnythingForDepthEstimation(config)
    with torch.no_grad():
        for value in network.parameters():
            if value.ndim > 1:
                value.normal_(std=value[0].numel() ** -0.5)  # its own beginning says the same everywhere
        network.head.conv3.bias.fill_(2.0)  # above the ReLU that ends it
    network.save_pretrained(folder)
    return folder
