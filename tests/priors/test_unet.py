"""The denoiser listens to what it is told, sees whole pixels, and keeps examples apart."""

import torch

from threestudio_like.priors.base import Condition


def test_no_vector_counts_as_zero(small_denoiser):
    unet, x, t = small_denoiser(0, None), torch.randn(2, 4, 16, 16), torch.tensor([3, 500])
    zero = Condition(vector=torch.zeros(2, unet.vector_channels))
    with torch.no_grad():
        torch.testing.assert_close(unet(x, t, Condition()), unet(x, t, zero))


def test_every_part_of_the_condition_matters(small_denoiser):
    unet, x, t = small_denoiser(3, 12), torch.randn(1, 4, 16, 16), torch.tensor([500])
    parts = {"tokens": torch.randn(1, 4, 12), "vector": torch.randn(1, 64), "image": torch.randn(1, 3, 8, 8)}
    with torch.no_grad():
        told = unet(x, t, Condition(**parts))
        for name, part in parts.items():
            assert (unet(x, t, Condition(**{**parts, name: -part})) - told).abs().max() > 1e-4, name
        assert (unet(x, t - 400, Condition(**parts)) - told).abs().max() > 1e-4


def test_one_token_is_a_bias_of_every_block(small_denoiser):
    """Attention to a single key answers every place alike (Zero-1-to-3's token is this)."""
    unet, x, t = small_denoiser(0, 12), torch.randn(1, 4, 16, 16), torch.tensor([500])
    crossed = [m for name, m in unet.unet.named_modules() if name.endswith("attn2")]
    answers = []
    for each in crossed:
        each.register_forward_hook(lambda module, given, answer: answers.append(answer))
    with torch.no_grad():
        unet(x, t, Condition(tokens=torch.randn(1, 1, 12)))
        assert len(answers) == len(crossed) > 0
        assert all(torch.equal(answer, answer[:, :1].expand_as(answer)) for answer in answers)
        answers.clear()
        unet(x, t, Condition(tokens=torch.randn(1, 3, 12)))
    assert all((answer - answer[:, :1]).abs().max() > 1e-4 for answer in answers)


def test_examples_do_not_leak(small_denoiser):
    unet, x, t = small_denoiser(0, 12), torch.randn(3, 4, 16, 16), torch.tensor([3, 500, 900])
    tokens = torch.randn(3, 4, 12)
    with torch.no_grad():
        together = unet(x, t, Condition(tokens=tokens))
        alone = unet(x[1:2], t[1:2], Condition(tokens=tokens[1:2]))
    torch.testing.assert_close(together[1:2], alone, rtol=0.02, atol=0.02)  # bfloat16 where there is any


def test_noise_passes_at_full_resolution(small_denoiser):
    """A change of one pixel of x_t reaches its own place more than its neighbours in the 2x2 block."""
    unet, x, t = small_denoiser(0, None), torch.randn(1, 4, 16, 16), torch.tensor([900])
    x.requires_grad_()
    unet(x, t, Condition())[0, :, 6, 6].abs().sum().backward()
    effect = x.grad.abs().sum(1)[0]
    assert effect[6, 6] == effect[6:8, 6:8].max()
