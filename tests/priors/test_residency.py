"""Weights that stay on the CPU, and a compiled network: the same answers and gradients, adapters included."""

import layouts
import pytest
import torch
from torch import Tensor, nn

from threestudio_like.ops.camera import orbit
from threestudio_like.priors import residency
from threestudio_like.priors.base import Condition
from threestudio_like.priors.dreambooth import DreamBooth
from threestudio_like.priors.latents import Latents
from threestudio_like.priors.lora import LoRA
from threestudio_like.priors.residency import Compiled, Offloaded, Residency, bare, housed
from threestudio_like.schedule.vp import VP, scaled_linear

OFFLOAD = Residency(compile=False, backend="eager", offload=True)


class Small(nn.Module):
    """Asked as diffusers' are, with a buffer that matters."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer, self.config = nn.Linear(3, 4), nn.Linear(4, 3), {"width": 4}
        self.register_buffer("gain", torch.tensor(2.0))

    def forward(self, x: Tensor, t: Tensor, told: Tensor | None = None) -> tuple[Tensor]:
        return (
            self.gain * self.outer(torch.tanh(self.inner(x))) + t[:, None] + (0 if told is None else told),
        )


class Plain(Latents):
    """Told tokens alone."""

    def condition(self, prompts, camera, reference):
        chance = torch.Generator().manual_seed(3)
        return Condition(tokens=torch.randn(len(prompts), 2, layouts.TOKEN, generator=chance))


def prior(where: Residency | None) -> Latents:
    values = {"schedule": VP(betas=scaled_linear(1000, 0.00085, 0.012)), "size": 16, "prediction": "eps"}
    return Plain(unet=layouts.unet(), vae=layouts.vae(), precision="float32", residency=where, **values)


def answered(model) -> Tensor:
    torch.manual_seed(2)
    pose = {"azimuth": 0.3, "elevation": 0.1, "distance": 1.6, "fov_y": 0.8}
    camera = orbit(**{name: torch.tensor([value]) for name, value in pose.items()}, height=8, width=8)
    return model.predict(torch.randn(1, 4, 8, 8), torch.tensor([90]), model.condition(["a"], camera, None))


def test_weights_stay_and_answers_come_from_where_the_question_is():
    net = Small().requires_grad_(False)
    x, t, told = torch.randn(2, 3), torch.tensor([1.0, 2.0]), torch.randn(2, 3)
    away = Offloaded(net)
    assert torch.equal(away(x, t, told=told)[0], net(x, t, told)[0])
    assert away(x.to("meta"), t.to("meta"))[0].device.type == "meta"  # stands for a device
    away.to("meta")
    assert {value.device.type for value in away.state_dict().values()} == {"cpu"}
    assert torch.equal(away(x, t)[0], net(x, t)[0]) and away.config == {"width": 4}
    away.to(torch.float64)
    assert away.dtype == away.network.gain.dtype == torch.float64


def test_a_prior_says_the_same_and_its_encoder_moves():
    one, other = prior(None), prior(OFFLOAD)
    with torch.no_grad():
        assert torch.equal(answered(one), answered(other))
    other.to("meta")
    assert other.vae.device.type == "meta" and next(other.unet.parameters()).device.type == "cpu"


@pytest.mark.parametrize(
    "make",
    [
        lambda prior: LoRA(prior=prior, rank=2, alpha=2.0, targets=["to_q"]),
        lambda prior: DreamBooth(prior=prior, checkpointing=True),
    ],
    ids=["lora", "dreambooth"],
)
def test_what_learns_beside_it_gets_the_same_gradients(make, monkeypatch):
    monkeypatch.setattr("threestudio_like.priors.unet.multiplies_bfloat16", lambda device: False)
    found = []
    for where in (None, OFFLOAD):
        torch.manual_seed(4)
        model = make(prior(where))
        for value in model.parameters():
            nn.init.normal_(value, std=0.1)
        answered(model).square().mean().backward()
        found.append({name: value.grad for name, value in model.named_parameters()})
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert sum(value.abs().sum() for value in found[0].values()) > 0


def test_a_dreambooth_copy_is_not_offloaded_itself():
    model = DreamBooth(prior=prior(OFFLOAD), checkpointing=False)
    assert type(model.denoiser) is type(layouts.unet())
    assert next(model.to("meta").denoiser.parameters()).device.type == "meta"
    assert next(model.prior.unet.parameters()).device.type == "cpu"


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_network_answers_alike_but_for_hooks(backend):
    """A hook that comes later would not be seen by the program: then the network itself is asked."""
    torch.compiler.reset()
    net = Small().requires_grad_(False)
    fast = housed(net, Residency(compile=True, backend=backend, offload=False))
    assert isinstance(fast, Compiled) and bare(fast) is net and fast.dtype == torch.float32
    asked = []
    fast._program = counted(fast._program, asked)
    x, t = torch.randn(2, 3), torch.tensor([1.0, 2.0])
    with torch.no_grad():
        torch.testing.assert_close(fast(x, t)[0], net(x, t)[0])
        handle = net.inner.register_forward_hook(lambda _, __, out: out + 1)
        hooked = fast(x, t)[0]
        assert torch.equal(hooked, net(x, t)[0]) and len(asked) == 1
        handle.remove()
        assert (fast(x, t)[0] - hooked).abs().max() > 1e-2 and len(asked) == 2


def counted(call, asked: list):
    return lambda *args, **kwargs: (asked.append(args), call(*args, **kwargs))[1]


def test_nothing_is_housed_unless_it_is_asked_for():
    net = Small()
    assert housed(net, None) is net and bare(net) is net
    assert housed(net, Residency(compile=False, backend="inductor", offload=False)) is net


def test_what_cannot_be_is_one_line(monkeypatch):
    with pytest.raises(ValueError, match="^offload: not with compile, "):
        Residency(compile=True, backend="eager", offload=True)
    monkeypatch.setattr(residency.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"^compile: backend `inductor` needs a C\+\+ compiler"):
        Residency(compile=True, backend="inductor", offload=False)
    assert Residency(compile=True, backend="eager", offload=False).compile
