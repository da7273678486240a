"""Pairs by shared maps: equal captions give equal pictures; what is kept is written as a data set."""

import pytest
import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader
from trainers import quiet

from systems.denoise import Evaluation
from systems.prompt_to_prompt import PromptToPrompt, Tries, alike, straight
from threestudio_like.data.caption_pairs import Asked
from threestudio_like.data.generated import read
from threestudio_like.guidance.cfg import CFG
from threestudio_like.metrics.pairing import Limits
from threestudio_like.priors.attention import injected
from threestudio_like.priors.embedding import Embedding
from threestudio_like.schedule.samplers import ddim

NAMES = ["cup", "chair", "lamp", "tree"]


@pytest.fixture
def prior(small_system):
    return small_system("ddpm").prior.eval().requires_grad_(False)


def evaluation(eta: float = 1.0) -> Evaluation:
    def sampler(eps, x_t, levels, schedule):
        return ddim(eps, x_t, levels, schedule, eta=eta, clip=(-1.0, 1.0))

    return Evaluation(4, sampler, CFG(form="standard", scale=1.0), {})


def drawn(prior, examples, captions, share: float, kinds="cross", eta: float = 1.0):
    """Two samples of one try."""
    place = examples(1)[0].target.camera
    told = [prior.condition(prompts, place, None) for prompts in captions]
    torch.manual_seed(0)
    noise = torch.randn(4, *prior.shape)
    return alike(prior, evaluation(eta), told, noise, share, 3.0, kinds)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_equal_captions_give_equal_pictures_to_the_bit(prior, examples, share, eta):
    before, after = drawn(prior, examples, [NAMES, NAMES], share, eta=eta)
    assert torch.equal(before, after) and before.std() > 0


def test_sharing_leaves_the_first_as_it_is_and_changes_the_second(prior, examples):
    words = [NAMES, ["house", "table", "sword", "bush"]]
    (plain, apart), (again, alike_) = (drawn(prior, examples, words, share) for share in (0.0, 1.0))
    assert torch.equal(plain, again)
    assert (apart - alike_).abs().max() > 1e-4 and (alike_ - plain).abs().max() > 1e-4


def test_maps_are_shared_in_the_noisiest_calls(prior, examples, monkeypatch):
    """Of four calls two, the first ones, of the second caption."""
    taken = []

    def noting(denoiser, kinds, maps):
        taken.append(len(maps))
        return injected(denoiser, kinds, maps)

    monkeypatch.setattr("systems.prompt_to_prompt.injected", noting)
    drawn(prior, examples, [NAMES, NAMES], 0.5, kinds="both")
    assert len(taken) == 2 and taken[0] == taken[1] > 0


class Given(LightningDataModule):
    def __init__(self, asked: list[Asked]) -> None:
        super().__init__()
        self.asked = asked

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.asked, batch_size=None)


class Eye(Embedding):
    """An embedding of lightness, and of nothing as light."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)

    def pictures(self, image):
        return torch.stack([image.mean((1, 2, 3)), torch.ones(len(image))], dim=-1)

    def words(self, prompts):
        return torch.tensor([[float(prompt == "nothing") + 0.5, 1.0] for prompt in prompts])


@pytest.mark.parametrize("most", [0, 2])
def test_what_is_kept_is_a_data_set(prior, examples, tmp_path, most):
    place = examples(1)[0].target.camera
    asked = [
        Asked(step, NAMES, [f"turn the {n} over" for n in NAMES], NAMES, ["nothing"] * 4, place)
        for step in range(2)
    ]
    system = PromptToPrompt(
        prior=prior,
        embedding=Eye(),
        evaluation=evaluation(),
        tries=Tries(number=3, share=[0.1, 0.9], scale=[1.5, 3.0], kinds="cross"),
        limits=Limits(text=-1.0, image=-1.0, direction=-1.0, most=most),
        seed=0,
    )
    trainer = quiet(tmp_path, 2)
    trainer.fit(system, datamodule=Given(asked))
    pairs = read(tmp_path / "pairs")
    assert len(pairs) == 2 * 4 * most == system.measure(None)["kept"]
    assert system.measure(None)["tried"] == 24 and not system.state_dict()
    assert len(list((tmp_path / "pairs").glob("*.png"))) == 2 * len(pairs)
    assert {pair.name for pair in pairs} == (set(NAMES) if most else set())
    assert all(0.1 <= line["share"] <= 0.9 and 1.5 <= line["scale"] <= 3 for line in system.lines)
    assert (tmp_path / "images/tries-000002.png").exists()


def test_what_is_straight_is_the_same_over_white():
    rgb, alpha = torch.rand(5, 5, 3), 0.1 + 0.9 * torch.rand(5, 5, 1)
    over = torch.cat([rgb * alpha + 1 - alpha, alpha], dim=-1)
    torch.testing.assert_close(straight(over)[..., :3], rgb, atol=1e-4, rtol=1e-4)
    assert straight(torch.tensor([[[1.0, 1.0, 1.0, 0.0]]])).isfinite().all()
