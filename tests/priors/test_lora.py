import copy
import math

import layouts
import pytest
import torch
from torch import nn

from threestudio_like.ops.camera import orbit
from threestudio_like.priors.lora import LoRA, LowRank, unet_of
from threestudio_like.priors.stable_diffusion import StableDiffusion
from threestudio_like.schedule.vp import VP, scaled_linear

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]


def adapted(prior, targets=ATTENTION, rank=2, alpha=4.0) -> LoRA:
    torch.manual_seed(1)
    return LoRA(prior=prior, rank=rank, alpha=alpha, targets=targets)


def stirred(lora: LoRA) -> LoRA:
    """As after some training: nothing in it is zero."""
    for parameter in lora.parameters():
        parameter.data.normal_(std=0.3)
    return lora


def question(prior):
    torch.manual_seed(2)
    angle = torch.tensor([0.0, 2.0])
    camera = orbit(
        azimuth=angle, elevation=0 * angle, distance=1.6 + 0 * angle, fov_y=0.8 + 0 * angle, height=8, width=8
    )
    x_t = torch.randn(2, *prior.shape)
    return x_t, torch.tensor([10, 90]), camera, ["a red cup", "a chair"]


@torch.no_grad()
def asked(prior, x_t, t, camera, prompts) -> torch.Tensor:
    return prior.predict(x_t, t, prior.condition(prompts, camera, None))


def test_untrained_it_is_the_prior(prior) -> None:
    ask = question(prior)
    assert torch.equal(asked(adapted(prior), *ask), asked(prior, *ask))


def test_trained_it_differs_and_the_prior_does_not_notice(prior) -> None:
    ask, names = question(prior), list(prior.state_dict())
    before = asked(prior, *ask)
    lora = stirred(adapted(prior))
    assert (asked(lora, *ask) - before).abs().max() > 0.01
    assert torch.equal(asked(prior, *ask), before)
    assert list(prior.state_dict()) == names


@pytest.mark.parametrize("targets", [ATTENTION, ["conv1", "conv2"], ["downsamplers.0.conv", "proj_in"]])
def test_it_is_the_prior_with_other_weights(prior, targets) -> None:
    lora = stirred(adapted(prior, targets))
    nn.init.zeros_(lora.camera.layers[-1].weight)
    nn.init.zeros_(lora.camera.layers[-1].bias)
    merged = copy.deepcopy(prior)
    for name, pair in lora.pairs.items():
        layer = unet_of(merged).get_submodule(name.replace("/", "."))
        up = pair.up.weight.flatten(1)
        layer.weight.data += 4.0 / 2 * torch.einsum("or,r...->o...", up, pair.down.weight)
    ask = question(prior)
    assert torch.allclose(asked(lora, *ask), asked(merged, *ask), atol=1e-4)


def test_the_camera_matters_once_learnt(prior) -> None:
    x_t, t, camera, prompts = question(prior)
    lora = stirred(adapted(prior))
    condition = lora.condition(prompts, camera, None)
    elsewhere = lora.condition(prompts, camera._replace(c2w=camera.c2w.flip(0)), None)
    moved = condition._replace(vector=elsewhere.vector)  # the same words, another camera
    with torch.no_grad():
        assert (lora.predict(x_t, t, condition) - lora.predict(x_t, t, moved)).abs().max() > 1e-3
        blind = [lora.predict(x_t, t, lora.without_camera(told)) for told in (condition, moved)]
    assert torch.equal(*blind)


def test_null_is_the_priors_and_no_camera(prior) -> None:
    _, _, camera, prompts = question(prior)
    lora = adapted(prior)
    null = lora.null(lora.condition(prompts, camera, None))
    inner, seen = lora.split(null)
    assert not seen.any() and inner.vector is None
    assert torch.equal(inner.tokens, prior.null(prior.condition(prompts, camera, None)).tokens)


def test_only_the_pairs_and_the_camera_learn_and_are_saved(prior) -> None:
    x_t, t, camera, prompts = question(prior)
    lora = stirred(adapted(prior))
    assert set(lora.state_dict()) == {name for name, _ in lora.named_parameters()}
    assert all(name.startswith(("pairs.", "camera.")) for name in lora.state_dict())
    lora.predict(x_t, t, lora.condition(prompts, camera, None)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in lora.parameters())
    assert all(parameter.grad is None for parameter in prior.parameters())
    again = adapted(prior)
    again.load_state_dict(lora.state_dict())
    ask = question(prior)
    assert torch.equal(asked(again, *ask), asked(lora, *ask))


def test_two_adapters_share_one_prior(prior) -> None:
    ask = question(prior)
    one, two = stirred(adapted(prior)), stirred(adapted(prior, ["conv1"]))
    alone = asked(one, *ask)
    asked(two, *ask)
    assert torch.equal(asked(one, *ask), alone)


def test_a_failure_inside_leaves_no_hook(prior) -> None:
    x_t, t, camera, prompts = question(prior)
    lora, before = stirred(adapted(prior)), asked(prior, x_t, t, camera, prompts)
    with pytest.raises(Exception, match="shape|size|Expected"):
        lora.predict(x_t, t, lora.condition(prompts, camera, None)._replace(tokens=torch.ones(2, 4, 5)))
    assert torch.equal(asked(prior, x_t, t, camera, prompts), before)
    assert not any(module._forward_hooks for module in prior.modules())


def test_gradients_do_not_vanish_in_float16(tmp_path) -> None:
    """Those of a mean over a picture's latents are those of a larger loss, but smaller."""
    prior = StableDiffusion(
        schedule=VP(betas=scaled_linear(1000, 0.00085, 0.012)),
        weights=str(layouts.stable_diffusion_folder(tmp_path)),
        version="2.x",
        size=16,
        text=None,
        prediction="eps",
        precision="float16",
        residency=None,
        words=None,
        negative="",
        cache=str(tmp_path / "cache"),
    )
    lora = stirred(adapted(prior))
    x_t, t, camera, prompts = question(prior)
    x_t.requires_grad_()
    loss = lora.predict(x_t, t, lora.condition(prompts, camera, None)).square().sum()
    values = list(lora.parameters())
    (towards,) = torch.autograd.grad(loss, x_t, retain_graph=True)  # the input's is as large as without pairs
    (alone,) = torch.autograd.grad(
        prior.predict(x_t, t, prior.condition(prompts, camera, None)).square().sum(), x_t
    )
    assert 0.1 < towards.norm() / alone.norm() < 10
    mean = 0.1 / (4 * 64 * 64)  # of the paper's latents, with its weight
    large, small = (torch.autograd.grad(w * loss, values, retain_graph=True) for w in (1e-3, mean))
    for (name, _), one, other in zip(lora.named_parameters(), large, small, strict=True):
        assert (1e-3 / mean * other - one).norm() < 0.03 * one.norm(), name


def test_its_loss_falls(prior) -> None:
    x_t, t, camera, prompts = question(prior)
    lora = adapted(prior, ["conv1", "conv2", "conv_out"], rank=4)
    optimizer = torch.optim.Adam(lora.parameters(), lr=0.1)
    wanted = prior.schedule.eps_from_x0(x_t, torch.full_like(x_t, 0.5), t)  # one grey picture
    losses = []
    for _ in range(30):
        loss = (lora.predict(x_t, t, lora.condition(prompts, camera, None)) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_the_pairs_are_float32_beside_a_smaller_precision() -> None:
    layer = nn.Linear(4, 4).bfloat16()
    pair = LowRank(layer, 2)
    assert pair(torch.ones(1, 4, dtype=torch.bfloat16)).dtype == pair.down.weight.dtype == torch.float32
    bound = math.sqrt(1 / 4)
    assert pair.down.weight.abs().max() <= bound and not pair.up.weight.any()


def test_a_target_that_is_not_there_is_refused(prior) -> None:
    with pytest.raises(ValueError, match="'to_z'"):
        adapted(prior, ["to_q", "to_z"])
    with pytest.raises(ValueError, match="'q'"):
        adapted(prior, ["q"])  # not an ending of to_q: names are whole between dots


def test_a_prior_without_a_unet_is_refused(prior) -> None:
    prior.denoiser = nn.Identity()
    with pytest.raises(ValueError, match="0 U-Nets"):
        adapted(prior)
