"""A system that only looks: its steps count, and what it leaves is in its folder."""

import json

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from trainers import quiet

from systems.observe import Observe


class Look(Observe):
    def training_step(self, batch, batch_idx) -> None:
        picture = torch.zeros(2, 3, 3)
        picture[0, 1] = 1
        self.show("dot", picture, batch_idx, 2)
        self.report("found.json", {"step": batch_idx})
        self.tick()


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
def test_steps_count_and_what_was_found_is_in_the_folder(tmp_path):
    trainer = quiet(tmp_path, 2)
    trainer.fit(Look(), DataLoader([0, 1, 2, 3], batch_size=None))
    assert trainer.global_step == 2
    assert json.loads((tmp_path / "found.json").read_text()) == {"step": 1}
    shown = Image.open(tmp_path / "images" / "dot-000002.png")
    assert shown.size == (6, 4)
    white = {(x, y) for x in range(6) for y in range(4) if shown.getpixel((x, y)) == (255, 255, 255)}
    assert white == {(2, 0), (3, 0), (2, 1), (3, 1)}
