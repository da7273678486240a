"""What the priors in latents share: precisions, and a copy that learns in float32."""

import layouts
import torch

from threestudio_like.priors.base import Condition
from threestudio_like.priors.latents import Latents, asked
from threestudio_like.schedule.vp import VP, scaled_linear


def prior(precision: str) -> Latents:
    schedule = VP(betas=scaled_linear(1000, 0.00085, 0.012))
    made = {"unet": layouts.unet(), "vae": layouts.vae(), "residency": None}
    return Latents(schedule=schedule, size=16, **made, prediction="eps", precision=precision)


def test_frozen_weights_are_held_as_asked_and_pictures_keep_their_gradients():
    low = prior("bfloat16")
    assert low.unet.dtype == low.vae.dtype == torch.bfloat16
    image = torch.rand(1, 16, 16, 4, requires_grad=True)
    low.encode(image).sum().backward()
    assert image.grad[..., :3].abs().sum() > 0 and not image.grad[..., 3].any()


def test_the_trainers_autocast_stays_outside():
    one = prior("float32")
    x_t, t, told = (
        torch.randn(1, 4, 8, 8),
        torch.tensor([3]),
        Condition(tokens=torch.randn(1, 2, layouts.TOKEN)),
    )
    with torch.no_grad():
        plain = one.predict(x_t, t, told)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(one.predict(x_t, t, told), plain)


def test_a_copy_in_float32_computes_in_bfloat16_where_the_hardware_does(monkeypatch):
    """Masters learn in float32; their products are as fast as the frozen network's."""
    monkeypatch.setattr("threestudio_like.priors.unet.multiplies_bfloat16", lambda device: True)
    seen, kept = [], []
    unet = layouts.unet()
    layer = unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q
    layer.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    layer.register_forward_hook(lambda *_: kept.append(torch.is_autocast_cache_enabled()))
    x_t, t, told = (
        torch.randn(1, 4, 8, 8),
        torch.tensor([3]),
        Condition(tokens=torch.randn(1, 2, layouts.TOKEN)),
    )
    answer = asked(unet, "float16", x_t, t, told, None)
    answer.square().mean().backward()
    assert kept == [False]  # each weight is used once: no copies of all of them beside the masters
    assert seen == [torch.bfloat16] and answer.dtype == torch.float32
    assert unet.conv_in.weight.grad.dtype == torch.float32 and unet.conv_in.weight.grad.abs().sum() > 0
