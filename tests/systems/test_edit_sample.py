"""Edits of one picture: what is left, which scales stand where, and what is refused."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from trainers import quiet

from systems.denoise import Evaluation
from systems.edit_sample import EditSample
from threestudio_like.data.cameras import Pose
from threestudio_like.guidance.cfg import CFG, Dual
from threestudio_like.priors.base import Condition, Prior
from threestudio_like.records import Batch, View
from threestudio_like.schedule.samplers import ddim
from threestudio_like.schedule.vp import VP, cosine


class Adder(Prior):
    """The picture before, a quarter darker if told to; black without either."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule, self.shape = VP(betas=cosine(num_steps=20, offset=0.008)), (4, 8, 8)

    def encode(self, image):
        return image.permute(0, 3, 1, 2)

    def decode(self, x):
        return x.clamp(0, 1).permute(0, 2, 3, 1)

    def condition(self, prompts, camera, reference):
        return Condition(tokens=torch.ones(len(prompts), 1, 1), image=self.encode(reference.rgba))

    def null(self, condition):
        return Condition(tokens=0 * condition.tokens, image=0 * condition.image)

    def predict(self, x_t, t, condition):
        return self.schedule.eps_from_x0(x_t, condition.image - 0.25 * condition.tokens[..., None], t)


def sampler(eps, x_t, levels, schedule):
    return ddim(eps, x_t, levels, schedule, eta=0.0, clip=None)


def system(cfg, prompt: str = "darker", **other) -> EditSample:
    evaluation = Evaluation(steps=3, sampler=sampler, cfg=cfg, card={})
    scales = {"image_scales": [1.0, 0.5], "text_scales": [0.0, 1.0, 2], **other}
    return EditSample(
        prior=Adder(), evaluation=evaluation, prompt=prompt, side=16, enlarged=2, seed=0, **scales
    )


DUAL = Dual(image_scale=1.0, text_scale=1.0, within=[0.0, 1.0])


def test_the_sheet_and_the_edited_picture(tmp_path: Path) -> None:
    view = View(Pose(0.0, 0.0, 2.0, 45.0).camera(8), torch.full((1, 8, 8, 3), 0.8), torch.ones(1, 8, 8, 1))
    batch = Batch(step=0, camera=view.camera, reference=view)
    trainer = quiet(tmp_path)
    trainer.fit(system(DUAL), DataLoader([batch], batch_size=None))
    with Image.open(tmp_path / "edited.png") as edited:
        assert edited.size == (16, 16) and edited.getpixel((8, 8))[0] == pytest.approx(0.55 * 255, abs=1)
    with Image.open(tmp_path / "images/edits-000001.png") as sheet:
        assert sheet.size == (4 * 16, 2 * 16)
        shown = [[sheet.getpixel((8 + 16 * x, 8 + 16 * y))[0] / 255 for x in range(4)] for y in range(2)]
    assert shown[0] == pytest.approx([0.8, 0.8, 0.55, 0.3], abs=0.01)  # the picture, then darker and darker
    assert shown[1] == pytest.approx([1.0, 0.4, 0.15, 0.0], abs=0.01)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="evaluation.cfg: needs guidance by a picture and by words"):
        system(CFG(form="standard", scale=1.0))
    with pytest.raises(ValueError, match="text_scales: needs at least one scale"):
        system(DUAL, text_scales=[])
