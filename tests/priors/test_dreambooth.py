import torch

from threestudio_like.ops.camera import orbit
from threestudio_like.priors.dreambooth import DreamBooth


def question(model):
    torch.manual_seed(2)
    angle = torch.tensor([0.0, 2.0])
    camera = orbit(
        azimuth=angle, elevation=0 * angle, distance=1.6 + 0 * angle, fov_y=0.8 + 0 * angle, height=8, width=8
    )
    condition = model.condition(["a red cup", "a chair"], camera, None)
    return torch.randn(2, 4, 8, 8), torch.tensor([10, 90]), condition


def test_it_begins_as_the_prior_and_then_goes_its_own_way(prior) -> None:
    model = DreamBooth(prior=prior, checkpointing=False)
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
    model = DreamBooth(prior=prior, checkpointing=False)
    names = {f"denoiser.{name}" for name in prior.denoiser.state_dict()}
    assert {name for name in model.state_dict() if name.startswith("denoiser.")} == names
    assert all(name.startswith(("denoiser.", "camera.")) for name in model.state_dict())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())
    model.predict(*question(model)).square().mean().backward()
    assert model.camera.layers[-1].weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in prior.parameters())


def test_it_moves_as_one(prior) -> None:
    model = DreamBooth(prior=prior, checkpointing=False).double()
    assert {p.dtype for p in [*model.parameters(), *prior.parameters()]} == {torch.float64}
    assert model._twin[0].schedule.alpha_bar.dtype == torch.float64


def test_no_hook_stays(prior) -> None:
    model = DreamBooth(prior=prior, checkpointing=False)
    model.predict(*question(model))
    assert not any(module._forward_hooks for module in [*model.modules(), *prior.modules()])


def test_blocks_that_are_computed_again_have_the_same_gradients(prior) -> None:
    """And fewer numbers are kept for them meanwhile."""
    kept: list[int] = []

    def gradients(checkpointing: bool) -> list[torch.Tensor]:
        torch.manual_seed(3)
        model = DreamBooth(prior=prior, checkpointing=checkpointing)
        torch.nn.init.normal_(model.camera.layers[-1].weight)  # 0 at first: the camera should matter
        asked = question(model)
        kept.append(0)

        def pack(value):
            kept[-1] += value.numel()
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            loss = model.predict(*asked).square().mean()
        loss.backward()
        return [value.grad for value in model.parameters()]

    for one, other in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(one, other)
    assert kept[1] < 0.7 * kept[0]
    assert not any(getattr(module, "gradient_checkpointing", False) for module in prior.modules())
