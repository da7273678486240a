import io
from functools import partial

import pytest
import torch

from threestudio_like.guidance.base import Fitting
from threestudio_like.guidance.bsd import BSD, Augment, Pool
from threestudio_like.guidance.cfg import CFG
from threestudio_like.ops.camera import orbit
from threestudio_like.priors.base import Learner
from threestudio_like.priors.dreambooth import DreamBooth
from threestudio_like.priors.lora import LoRA
from threestudio_like.priors.text import Text
from threestudio_like.priors.text_to_image import TextToImage
from threestudio_like.priors.unet import Denoiser
from threestudio_like.schedule.anneal import linear
from threestudio_like.schedule.levels import Uniform
from threestudio_like.schedule.vp import VP, cosine

EVERYWHERE = Uniform(low=0.0, high=1.0)


class Same(Learner):
    """Says what the frozen prior says, and remembers what it was told."""

    def predict(self, x_t, t, condition):
        self.told = condition
        return self.prior.predict(x_t, t, self.split(condition)[0])


def augment(count: int = 20) -> Augment:
    level = linear(start=0.5, end=0.2, begin=0, until=5000)
    return Augment(level=level, cfg=CFG(form="standard", scale=1.0), count=count, clip=None)


def bsd(prior, dreambooth, learner, capacity=10, batch=1) -> BSD:
    return BSD(
        prior=prior,
        cfg=CFG(form="standard", scale=2.0),
        levels=Uniform(low=0.05, high=0.5),
        weighting="1-alpha_bar",
        grad_clip=None,
        learner=learner,
        fitting=Fitting(levels=EVERYWHERE, dropout=0.0, camera_dropout=0.1),
        dreambooth=dreambooth,
        dreambooth_fitting=Fitting(levels=EVERYWHERE, dropout=0.0, camera_dropout=0.0),
        augment=augment(),
        pool=Pool(capacity=capacity, batch=batch),
    )


def test_renoising_falls_from_cycle_to_cycle(gaussian, cameras) -> None:
    prior, asked = gaussian(cond=0.7, null=-0.2, std=0.4), []
    predict = prior.predict
    prior.predict = lambda x_t, t, condition: asked.append(int(t[0])) or predict(x_t, t, condition)
    guidance = bsd(prior, Same, Same)
    first = []
    for step in (0, 1000, 2000, 3000, 4000):
        asked.clear()
        guidance.refresh(torch.rand(1, 4, 4, 4), ["a cup"], cameras(1), None, step)
        first.append(asked[0])
        assert asked == sorted(asked, reverse=True) and len(asked) == 20 and asked[-1] == 0
    assert first == [500, 440, 380, 320, 260]


def test_the_more_noise_the_nearer_to_the_prior(gaussian, cameras) -> None:
    """DDIM transports Gaussians exactly: what is left of a render is the share of signal in x_t'."""
    prior = gaussian(cond=0.7, null=-0.2, std=0.4)
    guidance, image = bsd(prior, Same, Same), torch.full((200, 4, 4, 4), 3.0)
    torch.manual_seed(0)
    for step in (0, 5000):
        guidance.augment.count = 200
        x_r = guidance.refresh(image, ["a cup"] * 200, cameras(200), None, step)
        alpha_bar = prior.schedule.alpha_bar[500 if step == 0 else 200]
        kept = 0.4 * (alpha_bar / (alpha_bar * 0.16 + 1 - alpha_bar)).sqrt()
        assert float(x_r.mean()) == pytest.approx(float(0.7 + kept * (3.0 - 0.7)), rel=0.02)


def test_the_pool_is_bounded_and_first_in_is_first_out(gaussian, cameras) -> None:
    guidance = bsd(gaussian(cond=0.7, null=-0.2, std=0.4), Same, Same, capacity=3)
    for step in range(5):
        guidance.refresh(torch.rand(1, 4, 4, 4), [f"cup {step}"], cameras(1), None, step)
    assert [picture.prompt for picture in guidance.pool.pictures] == ["cup 2", "cup 3", "cup 4"]
    guidance.refresh(torch.rand(5, 4, 4, 4), list("abcde"), cameras(5), None, 5)
    assert [picture.prompt for picture in guidance.pool.pictures] == ["c", "d", "e"]


def test_each_picture_keeps_its_camera_and_its_words(gaussian, cameras) -> None:
    guidance = bsd(gaussian(cond=0.7, null=-0.2, std=0.4), Same, Same, batch=8)
    x_r = guidance.refresh(torch.rand(6, 4, 4, 4), list("abcdef"), cameras(6), None, 0)
    torch.manual_seed(0)
    x, prompts, camera = guidance.pool.draw(torch.device("cpu"))
    assert len(set(prompts)) > 2 and (camera.height, camera.width) == (4, 4)
    for i, prompt in enumerate(prompts):
        made = "abcdef".index(prompt)
        assert torch.equal(x[i], x_r[made]) and torch.equal(camera.c2w[i], cameras(6).c2w[made])
    torch.manual_seed(0)
    guidance.fit_dreambooth(None, 0)
    assert torch.equal(guidance.dreambooth.split(guidance.dreambooth.told)[1], camera.c2w.flatten(1))


def test_cameras_of_two_sizes_are_not_mixed(gaussian, cameras) -> None:
    pool = Pool(capacity=10, batch=6)
    pool.add(torch.zeros(2, 4, 4, 4), ["small"] * 2, cameras(2))
    pool.add(torch.ones(2, 4, 4, 4), ["large"] * 2, cameras(2)._replace(height=8, width=8))
    torch.manual_seed(0)
    seen = set()
    for _ in range(10):
        x, prompts, camera = pool.draw(torch.device("cpu"))
        assert set(prompts) == ({"large"} if camera.height == 8 else {"small"})
        assert (x == float(camera.height == 8)).all()
        seen.add(camera.height)
    assert seen == {4, 8}


def test_it_distils_towards_the_dreambooth_model(gaussian, cameras) -> None:
    class Brighter(Same):
        """The prior with its mean moved by one."""

        def predict(self, x_t, t, condition):
            inner = self.split(condition)[0]
            return self.prior.predict(x_t, t, inner._replace(vector=inner.vector + 1))

    prior = gaussian(cond=0.7, null=0.7, std=0.4)
    for dreambooth, sign in ((Same, 0), (Brighter, -1)):
        guidance = bsd(prior, dreambooth, Same)
        image = torch.full((2, 4, 4, 4), 0.7, requires_grad=True)
        guidance(image, ["a cup"] * 2, cameras(2), None, 0).backward()
        assert (image.grad * sign > 0).all() if sign else not image.grad.any()  # descent goes up


def test_an_empty_pool_is_our_mistake(gaussian) -> None:
    with pytest.raises(AssertionError, match="refresh"):
        bsd(gaussian(cond=0.7, null=-0.2, std=0.4), Same, Same).fit_dreambooth(None, 0)
    with pytest.raises(ValueError, match="at least 1"):
        Pool(capacity=0, batch=1)


def network() -> TextToImage:
    torch.manual_seed(0)
    sizes = {"widths": [8, 16], "blocks": 1, "head_channels": 8, "groups": 4, "tail_channels": 4}
    return TextToImage(
        schedule=VP(betas=cosine(100, 0.008)),
        size=8,
        denoiser=Denoiser(channels=4, image_channels=0, token_channels=8, **sizes),
        text=Text(buckets=64, channels=8, length=4, heads=2),
        prediction="v",
        dropout=0.1,
        weights=None,
    )


def run(guidance: BSD, optimizer: torch.optim.Optimizer, texture: torch.Tensor, steps: range) -> list[float]:
    """A small texture stage: refresh, DreamBooth, LoRA and the texture take their turns."""
    losses = []
    for step in steps:
        torch.manual_seed(step)
        angle = torch.rand(1)
        ones = torch.ones(1)
        camera = orbit(azimuth=angle, elevation=angle, distance=ones, fov_y=ones, height=8, width=8)
        image = texture.sigmoid()[None]
        if step % 2 == 0:
            guidance.refresh(image, [f"cup {step}"], camera, None, step)
        loss = guidance.fit_dreambooth(None, step) + guidance.fit(image, ["cup"], camera, None, step)
        loss = loss + guidance(image, ["cup"], camera, None, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def stage() -> tuple[BSD, torch.optim.Optimizer, torch.Tensor]:
    prior = network()

    def lora(*, prior) -> LoRA:
        return LoRA(prior=prior, rank=2, alpha=2.0, targets=["to_q", "to_v"])

    guidance = bsd(prior, partial(DreamBooth, checkpointing=False), lora, capacity=2, batch=2)
    texture = torch.zeros(8, 8, 4, requires_grad=True)
    groups = [{"params": [texture], "lr": 0.1}, {"params": guidance.parameters(), "lr": 1e-3}]
    return guidance, torch.optim.Adam(groups), texture


def test_a_resumed_stage_goes_on_exactly() -> None:
    guidance, optimizer, texture = stage()
    run(guidance, optimizer, texture, range(3))
    file = io.BytesIO()
    torch.save([guidance.state_dict(), optimizer.state_dict(), texture.detach()], file)
    ahead = run(guidance, optimizer, texture, range(3, 6))

    resumed, its_optimizer, its_texture = stage()
    file.seek(0)
    state, optimizer_state, texture_state = torch.load(file, weights_only=True)
    resumed.load_state_dict(state)
    its_optimizer.load_state_dict(optimizer_state)
    its_texture.data.copy_(texture_state)
    assert run(resumed, its_optimizer, its_texture, range(3, 6)) == ahead
    assert torch.equal(its_texture, texture)
    for mine, its in zip(guidance.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(mine, its)
    for mine, its in zip(guidance.pool.pictures, resumed.pool.pictures, strict=True):
        assert torch.equal(mine.x, its.x) and torch.equal(mine.c2w, its.c2w) and mine.prompt == its.prompt


def test_both_networks_and_the_pool_are_saved_in_float32_and_the_prior_is_not() -> None:
    guidance, optimizer, texture = stage()
    prior = [parameter.clone() for parameter in guidance.prior.parameters()]
    run(guidance, optimizer, texture, range(2))
    state = guidance.state_dict()
    folders = {name.split(".")[0] for name in state}
    assert folders == {"learner", "dreambooth", "pool"}
    assert all(value.dtype == torch.float32 for value in state.values() if isinstance(value, torch.Tensor))
    assert {n for n, _ in guidance.named_parameters()} == {n for n in state if n != "pool._extra_state"}
    for before, after in zip(prior, guidance.prior.parameters(), strict=True):
        assert torch.equal(before, after) and not after.requires_grad
