import pytest
import torch

from threestudio_like.ops.camera import orbit
from threestudio_like.priors.dreambooth import DreamBooth
from threestudio_like.priors.text import Text
from threestudio_like.priors.text_to_image import TextToImage
from threestudio_like.priors.unet import Denoiser
from threestudio_like.schedule.vp import VP, cosine


@pytest.fixture
def prior() -> TextToImage:
    torch.manual_seed(0)
    denoiser = Denoiser(
        channels=4,
        image_channels=0,
        token_channels=8,
        widths=[8, 16],
        blocks=1,
        head_channels=8,
        groups=4,
        tail_channels=4,
    )
    prior = TextToImage(
        schedule=VP(betas=cosine(100, 0.008)),
        size=8,
        denoiser=denoiser,
        text=Text(buckets=64, channels=8, length=4, heads=2),
        dropout=0.1,
        weights=None,
    )
    return prior.eval()  # attention takes another path in training, equal but for rounding


def question(model):
    torch.manual_seed(2)
    angle = torch.tensor([0.0, 2.0])
    camera = orbit(
        azimuth=angle, elevation=0 * angle, distance=1.6 + 0 * angle, fov_y=0.8 + 0 * angle, height=8, width=8
    )
    condition = model.condition(["a red cup", "a chair"], camera, None)
    return torch.randn(2, 4, 8, 8), torch.tensor([10, 90]), condition


def test_it_begins_as_the_prior_and_then_goes_its_own_way(prior) -> None:
    model = DreamBooth(prior=prior)
    with torch.no_grad():
        before = prior.predict(*question(prior))
        assert torch.equal(model.predict(*question(model)), before)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.predict(*question(model)).square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        assert (model.predict(*question(model)) - before).abs().max() > 1e-3
        assert torch.equal(prior.predict(*question(prior)), before)


def test_all_of_the_denoiser_learns_and_nothing_else_is_saved(prior) -> None:
    model = DreamBooth(prior=prior)
    names = {f"denoiser.{name}" for name in prior.denoiser.state_dict()}
    assert {name for name in model.state_dict() if name.startswith("denoiser.")} == names
    assert all(name.startswith(("denoiser.", "camera.")) for name in model.state_dict())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())
    model.predict(*question(model)).square().mean().backward()
    assert model.camera.layers[-1].weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in prior.parameters())


def test_it_moves_as_one(prior) -> None:
    model = DreamBooth(prior=prior).double()
    assert {p.dtype for p in [*model.parameters(), *prior.parameters()]} == {torch.float64}
    assert model._twin[0].schedule.alpha_bar.dtype == torch.float64


def test_no_hook_stays(prior) -> None:
    model = DreamBooth(prior=prior)
    model.predict(*question(model))
    assert not any(module._forward_hooks for module in [*model.modules(), *prior.modules()])
