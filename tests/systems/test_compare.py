"""Contenders that are known: one that copies the data is at the floor's side, one of noise is far."""

import json
from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from pytorch_lightning import LightningDataModule, Trainer
from torch.utils.data import DataLoader
from trainers import quiet

from systems.compare import Compare, Contender, block
from systems.denoise import Evaluation
from threestudio_like.guidance.cfg import CFG
from threestudio_like.priors.unconditional import Unconditional
from threestudio_like.priors.weights import save
from threestudio_like.schedule.vp import VP, cosine

CONFIGS = Path(__file__).parents[2] / "configs"


class Given(LightningDataModule):
    def __init__(self, batches) -> None:
        super().__init__()
        self.batches = batches

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.batches[:1], batch_size=None)

    def validation_examples(self):
        return self.batches[1:]


class Pixelwise(torch.nn.Module):
    """The smallest network of pictures."""

    channels, multiple = 4, 1

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Conv2d(4, 4, 1)

    def forward(self, x_t, t, condition):
        return self.mix(x_t)


def contender(sampler, stage=None) -> Contender:
    prior = Unconditional(
        schedule=VP(betas=cosine(100, 0.008)),
        size=16,
        denoiser=Pixelwise(),
        prediction="eps",
        weights=None,
    )
    return Contender(prior, Evaluation(3, sampler, CFG(form="standard", scale=1.0), {}), stage)


@pytest.fixture
def compared(examples, tmp_path):
    """Compare some contenders on two batches, of which the first is the data."""

    def run(**contenders) -> tuple[Compare, Trainer]:
        batches = examples(2)
        trainer = quiet(tmp_path / "compare", limit_val_batches=0, log_every_n_steps=1)
        system = Compare(contenders=contenders, seed=0)
        trainer.fit(system, datamodule=Given(batches))
        return system, trainer

    return run


def test_distances(compared, examples, tmp_path):
    truth = examples(1)[0].target.rgba.permute(0, 3, 1, 2) * 2 - 1

    def copies(eps, noise, levels, schedule):
        return truth

    def empty(eps, noise, levels, schedule):
        return torch.zeros_like(noise)

    system, trainer = compared(copy=contender(copies), empty=contender(empty))
    found = system.measure(None)
    assert found["frechet/copy"] == pytest.approx(0, abs=1e-6)
    assert found["frechet/floor"] < found["frechet/empty"]
    assert (tmp_path / "compare/images/side_by_side-000001.png").exists()
    assert trainer.global_step == 1 and json.dumps(found)
    assert trainer.callback_metrics["frechet/copy"] == pytest.approx(0, abs=1e-6)


def test_calls_are_counted_and_weights_come_from_the_stage(compared, tmp_path):
    trained = contender(None).prior
    save(trained, tmp_path / "first" / "weights", {})

    def asks_twice(eps, noise, levels, schedule):
        t = torch.zeros(len(noise), dtype=torch.int64)
        return eps(noise, t) + eps(noise, t)

    other = contender(asks_twice, stage="first")
    system, _ = compared(ours=other)
    assert system.found["calls/ours"] == 2 and system.found["parameters/ours"] == 20
    own, theirs = other.prior.denoiser.mix.weight, trained.denoiser.mix.weight
    torch.testing.assert_close(own, theirs, rtol=1e-3, atol=1e-4)


def test_as_configured_both_networks_are_one_and_say_the_same():
    """What is compared is the method: size, widths, what is predicted, budget and levels are alike."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        stages = hydra.compose("config", ["experiment=compare/score"]).stages
    GlobalHydra.instance().clear()
    ddpm, smld = stages.ddpm, stages.smld
    assert ddpm.system.prior.prediction == stages.compare.system.contenders.ddpm.prior.prediction == "eps"
    for each in ("prior.size", "prior.denoiser", "training", "optimization"):
        assert OmegaConf.select(ddpm.system, each) == OmegaConf.select(smld.system, each), each
    assert ddpm.data == smld.data
    assert ddpm.trainer.max_steps == smld.trainer.max_steps
    made = smld.system.prior._target_.rpartition(".")[2]
    assert made == "NCSN"  # whose network says eps: see tests/priors/test_ncsn.py


@pytest.mark.parametrize(
    "swap",
    [
        "schedule@stages.smld.system.prior.ladder=ve_overlapping",
        "schedule@stages.smld.system.evaluation.sampler=heun",
        "schedule@stages.ddpm.system.prior.schedule=vp_linear",
        "schedule@stages.ddpm.system.evaluation.sampler=ancestral",
    ],
)
def test_contenders_are_what_the_stages_train_and_how_they_sample(swap):
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        stages = hydra.compose("config", ["experiment=compare/score", swap]).stages
    GlobalHydra.instance().clear()
    contenders = stages.compare.system.contenders
    for name, each in contenders.items():
        assert each.prior == stages[each.stage].system.prior, name
    assert contenders.smld.evaluation == stages.smld.system.evaluation
    assert contenders.ddpm.evaluation == contenders.smld_ddim.evaluation == stages.ddpm.system.evaluation


def test_blocks_are_whole():
    assert block(torch.rand(64, 8, 8, 4)).shape == (6 * 8, 6 * 8 + 4, 3)
    assert block(torch.rand(7, 8, 8, 4)).shape == (8, 6 * 8 + 4, 3)
    assert block(torch.rand(4, 8, 8, 4)).shape == (8, 4 * 8 + 4, 3)
