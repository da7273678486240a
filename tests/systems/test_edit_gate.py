"""The gate of editing priors: an oracle that copies, one that ignores words, a run that was stopped."""

import json
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback
from trainers import quiet

from systems.denoise import Evaluation
from systems.edit_gate import EditGate
from threestudio_like.data.album import Cameras
from threestudio_like.data.draw import Light
from threestudio_like.data.edit_trials import EditTrials
from threestudio_like.data.pairs import Pairs
from threestudio_like.data.shapes import Shapes
from threestudio_like.guidance.cfg import CFG, Dual
from threestudio_like.priors.base import Condition, Prior
from threestudio_like.schedule.samplers import ddim
from threestudio_like.schedule.vp import VP, cosine


class Copier(Prior):
    """Believes in the picture that it is shown, whatever the words; told no picture, in grey."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule, self.shape = VP(betas=cosine(100, 0.008)), (4, 16, 16)

    def encode(self, image):
        return image.permute(0, 3, 1, 2) * 2 - 1

    def decode(self, x):
        return ((x + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)

    def condition(self, prompts, camera, reference):
        return Condition(tokens=torch.ones(len(prompts), 1, 1), image=self.encode(reference.rgba))

    def null(self, condition):
        return Condition(tokens=0 * condition.tokens, image=0 * condition.image)

    def predict(self, x_t, t, condition):
        return self.schedule.eps_from_x0(x_t, condition.image, t)


def gate() -> EditGate:
    def sampler(eps, x_t, levels, schedule):
        return ddim(eps, x_t, levels, schedule, eta=0.0, clip=(-1.0, 1.0))

    cfg = Dual(image_scale=1.0, text_scale=1.0, within=[0.0, 1.0])
    evaluation = Evaluation(steps=3, sampler=sampler, cfg=cfg, card={"weights": "none"})
    return EditGate(prior=Copier(), evaluation=evaluation, image_scales=[0, 1], text_scales=[1, 2.0], seed=0)


def data() -> EditTrials:
    pairs = Pairs(
        source=Shapes(count=1, seed=3),
        share=0,
        kinds={"part": 1, "remove": 1},
        cameras=Cameras(fov_y=49.134, distance=[1.4, 1.9], elevation=[-10.0, 60.0], size=16),
        light=Light(direction=[0.6, 0.0, 0.8], ambient=0.4, diffuse=0.6),
        views=1,
        batch_size=4,
        validation=4,
        seed=0,
    )
    return EditTrials(pairs=pairs, tasks=2, visible=0.02)


class Stop(Callback):
    """As Ctrl-C does: after this step, with a checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "last.ckpt")
            trainer.should_stop = True


def run(system: EditGate, folder: Path, stop: int = 0, checkpoint: Path | None = None) -> None:
    trainer = quiet(folder, 2, callbacks=[Stop(stop)])
    trainer.fit(system, datamodule=data(), ckpt_path=checkpoint, weights_only=True)


def test_a_copy_is_no_edit_and_leaves_all_else_as_it_is(tmp_path):
    system = gate()
    run(system, tmp_path)
    assert system.scales == [(0.0, 1.0), (1.0, 1.0), (1.0, 2.0)]
    assert len(system.answers) == 2 * 4 * 3
    report = json.loads((tmp_path / "gate.json").read_text())
    assert report["text_scale/means/2/accuracy"] == 0 and report["edits"] == 8
    assert report["image_scale/means/1/untouched_psnr"] > 50 > report["image_scale/means/0/untouched_psnr"]
    assert report["image_scale/monotone"] == 1.0 and report["weights"] == "none"
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == [
        "sheet-000001.png",
        "sheet-000002.png",
    ]


def test_a_stopped_run_goes_on_to_the_same_numbers(tmp_path):
    run(gate(), tmp_path / "whole")
    run(gate(), tmp_path / "half", 1)
    assert not (tmp_path / "half" / "gate.json").exists()
    run(gate(), tmp_path / "half", checkpoint=tmp_path / "half" / "last.ckpt")
    one, other = ((tmp_path / name / "gate.json").read_text() for name in ("whole", "half"))
    assert one == other


def test_one_scale_is_not_enough():
    evaluation = gate().evaluation._replace(cfg=CFG(form="standard", scale=1.0))
    with pytest.raises(ValueError, match="Dual"):
        EditGate(prior=Copier(), evaluation=evaluation, image_scales=[], text_scales=[], seed=0)
