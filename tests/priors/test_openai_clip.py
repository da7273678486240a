"""OpenAI's encoder of pictures, written out here as its paper has it, against what it is converted to."""

import layouts
import torch
import torch.nn.functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from threestudio_like.priors import openai_clip, sizes


def original(state, x):
    """The forward pass of the original names: a pre-norm ViT with quick GELU."""
    p = {name[len(openai_clip.VISUAL) :]: value for name, value in state.items()}
    x = F.conv2d(x, p["conv1.weight"], stride=p["conv1.weight"].shape[-1]).flatten(2).transpose(1, 2)
    x = torch.cat([p["class_embedding"].expand(len(x), 1, -1), x], 1) + p["positional_embedding"]

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"])

    x = norm(x, "ln_pre")
    for i in range(2):
        at = f"transformer.resblocks.{i}"
        q, k, v = F.linear(
            norm(x, f"{at}.ln_1"), p[f"{at}.attn.in_proj_weight"], p[f"{at}.attn.in_proj_bias"]
        ).chunk(3, -1)
        seen = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1) @ v
        x = x + F.linear(seen, p[f"{at}.attn.out_proj.weight"], p[f"{at}.attn.out_proj.bias"])
        h = F.linear(norm(x, f"{at}.ln_2"), p[f"{at}.mlp.c_fc.weight"], p[f"{at}.mlp.c_fc.bias"])
        x = x + F.linear(
            h * torch.sigmoid(1.702 * h), p[f"{at}.mlp.c_proj.weight"], p[f"{at}.mlp.c_proj.bias"]
        )
    return norm(x[:, 0], "ln_post") @ p["proj"]


def test_it_answers_as_the_original_does():
    state = layouts.openai_visual(layouts.randomised(layouts.clip()))
    made, _ = openai_clip.encoder(state)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(
            made(pixel_values=x).image_embeds, original(state, x), rtol=1e-4, atol=1e-5
        )


def test_the_published_size():
    with torch.device("meta"):
        network = CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes.CLIP))
        made, taken = openai_clip.encoder(layouts.openai_visual(network))
    assert sum(value.numel() for value in made.parameters()) == 303_966_208  # ViT-L/14 and its projection
    assert made.config.num_attention_heads == 16 and made.config.image_size == 224
    assert len(taken) == 392 and len(set(taken.values())) == 392 - 2 * 2 * 24  # three in one, twice a layer
