"""The picture as the system saw it: small, whole, and only of data that a scene is made from."""

import imageio.v2 as imageio
import numpy as np
import torch

from threestudio_like.records import Camera, View
from threestudio_like.run.seen import MOST, NAME, SIDE, keep, remarks


class Data:
    """A few pictures of one colour each, wider than high."""

    def __init__(self, count: int, *, told: bool) -> None:
        camera = Camera(torch.eye(4).repeat(count, 1, 1), torch.ones(count), 300, 600)
        shade = torch.linspace(0, 1, count)[:, None, None, None].expand(-1, 300, 600, 3)
        alpha = torch.ones(count, 300, 600, 1)
        normal = torch.tensor([1.0, 0, 0]).expand(count, 300, 600, 3)
        self.pictures = View(camera, shade, alpha, alpha if told else None, normal if told else None)


def test_a_few_of_many_are_kept_small_with_what_they_are_told(tmp_path):
    keep(Data(20, told=True), tmp_path)
    sheet = np.asarray(imageio.imread(tmp_path / NAME))
    height = SIDE // 2
    assert sheet.shape == (4 * height, MOST * SIDE, 3)
    assert (sheet[0, ::SIDE, 0] == np.round(np.array([0, 4, 8, 11, 15, 19]) / 19 * 255)).all()
    assert (sheet[height, 0] == 255).all() and (sheet[3 * height, 0] == [255, 128, 128]).all()


def test_it_is_written_once_and_not_for_data_without_pictures(tmp_path):
    keep(object(), tmp_path)
    assert not list(tmp_path.iterdir())
    keep(Data(1, told=False), tmp_path)
    before = (tmp_path / NAME).read_bytes()
    keep(Data(3, told=True), tmp_path)
    assert (tmp_path / NAME).read_bytes() == before


def test_what_may_be_wrong_is_told():
    class Remarked(Data):
        remarks = ["it touches the border"]

    assert remarks(Remarked(1, told=False)) == ["it touches the border"] and remarks(object()) == []
