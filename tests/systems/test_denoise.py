"""Training a denoiser: the loss, the average, the pace, validation, export, and going on after a stop."""

import copy
import json

import pytest
import torch
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader, IterableDataset
from trainers import quiet

from systems.denoise import chosen
from threestudio_like.priors.weights import load


@pytest.fixture
def fit(tmp_path):
    """Run some steps of a Lightning fit in one folder."""

    def run(system, examples, steps: int, checkpoint=None, **settings) -> Trainer:
        loader = DataLoader(Stream(examples, first_step(checkpoint)), batch_size=None)
        trainer = quiet(tmp_path, steps, num_sanity_val_steps=0, **settings)
        trainer.fit(system, loader, DataLoader(examples[:2], batch_size=None), ckpt_path=checkpoint)
        return trainer

    return run


class Stream(IterableDataset):
    """Without a length, as the real stream; Lightning counts the batches of other loaders itself."""

    def __init__(self, examples, start):
        self.examples, self.start = examples, start

    def __iter__(self):
        return iter(self.examples[self.start :])


def first_step(checkpoint) -> int:
    return 0 if checkpoint is None else torch.load(checkpoint)["global_step"]


@pytest.mark.parametrize("prediction", ["v", "eps", "x0"])
def test_a_perfect_network_has_no_loss(small_system, examples, prediction):
    """The loss sees the same noise as it does."""
    system, batch = small_system("ddpm"), examples(1)[0]
    prior = system.prior
    prior.prediction = prediction
    x = prior.encode(batch.target.rgba)

    def perfect(x_t, t, condition):
        eps = prior.schedule.eps_from_x0(x_t, x, t)
        return {"v": prior.schedule.v(x, eps, t), "eps": eps, "x0": x}[prediction]

    prior.denoiser.forward = perfect
    assert system.compute(batch)["denoise"].item() < 1e-6


def test_loss_falls_on_one_batch(small_system, examples):
    system, batch = small_system("ddpm"), examples(1)[0]
    optimizer = torch.optim.Adam(system.prior.parameters(), 3e-3)
    seen = []
    for step in range(40):
        torch.manual_seed(step % 4)
        loss = system.compute(batch)["denoise"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    assert sum(seen[-4:]) < 0.7 * sum(seen[:4])


def test_average_pace_export(small_system, examples, fit, tmp_path):
    system = small_system("ddpm", "training.ema=0.05", "training.pace.points=[[0,0.5],[10,1.0]]")
    start = copy.deepcopy(dict(system.prior.named_parameters()))
    trainer = fit(system, examples(2), 1, limit_val_batches=2)
    name = "denoiser.tail.0.weight"
    moved, average = system.prior.get_parameter(name), system.averaged.get_parameter(name)
    assert not torch.equal(moved, start[name])
    torch.testing.assert_close(
        average, torch.lerp(start[name], moved, 0.95)
    )  # less than the first (1 + 0) / (10 + 0)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(4e-4)
    assert json.loads((tmp_path / "weights.json").read_text())["metrics"] == {}
    trainer.validate(system, DataLoader(examples(2), batch_size=None), verbose=False)
    card = json.loads((tmp_path / "weights.json").read_text())
    assert card["steps"] == 1 and card["licence"] and card["metrics"]["denoise"] > 0
    assert system.measure(None) == {"denoise": card["metrics"]["denoise"]}
    fresh = small_system("ddpm").prior
    load(fresh, str(tmp_path / "weights.safetensors"))
    torch.testing.assert_close(fresh.get_parameter(name), average, rtol=1e-3, atol=1e-4)


def test_resumes_to_the_same_numbers(small_system, examples, fit, tmp_path):
    batches, checkpoint = examples(4), tmp_path / "half.ckpt"
    whole = small_system("zero123")
    fit(whole, batches, 4, limit_val_batches=0)
    fit(small_system("zero123"), batches, 2, limit_val_batches=0).save_checkpoint(checkpoint)
    resumed = small_system("zero123")
    torch.nn.init.ones_(resumed.prior.denoiser.tail[0].weight)  # all must come from the checkpoint
    fit(resumed, batches, 4, checkpoint, limit_val_batches=0)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_choosing_views(examples):
    view = examples(1)[0].target
    some = chosen(view, torch.tensor([2, 0]))
    assert torch.equal(some.rgb[0], view.rgb[2]) and torch.equal(some.camera.c2w[1], view.camera.c2w[0])
