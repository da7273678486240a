"""The picture as it was prepared, beside its matte."""

from types import SimpleNamespace

import imageio.v2 as imageio
import torch

from threestudio_like.run.intake import remember


def test_it_is_on_white_and_its_matte_beside_it(tmp_path):
    master = torch.zeros(4, 4, 4)
    master[1:3, 1:3] = torch.tensor([1.0, 0.0, 0.0, 1.0])
    remember(SimpleNamespace(master=master), tmp_path)
    seen = imageio.imread(tmp_path / "input.png")
    assert seen.shape == (4, 8, 3)
    assert seen[1, 1].tolist() == [255, 0, 0] and seen[0, 0].tolist() == [255, 255, 255]
    assert seen[1, 5].tolist() == [255, 255, 255] and seen[0, 4].tolist() == [0, 0, 0]


def test_data_of_many_pictures_leaves_none(tmp_path):
    remember(SimpleNamespace(), tmp_path)
    assert not list(tmp_path.iterdir())
