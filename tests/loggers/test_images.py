"""Pictures arrive whole in the folder and at the dashboards."""

import numpy as np
import torch
from PIL import Image

from threestudio_like.loggers.images import column, row, show, to_bytes


class Board:
    """A dashboard that remembers."""

    def __init__(self):
        self.seen = []
        self.experiment = self

    def add_image(self, name, pixels, step, dataformats):
        self.seen.append((name, tuple(pixels.shape), step, dataformats))


def test_show_writes_a_png_and_tells_the_board(tmp_path):
    picture = torch.rand(4, 5, 3)
    board = Board()
    show({"views": picture}, 12, tmp_path, [board])
    written = np.asarray(Image.open(tmp_path / "images" / "views-000012.png"))
    assert np.array_equal(written, (picture * 255).round().to(torch.uint8).numpy())
    assert board.seen == [("views", (4, 5, 3), 12, "HWC")]
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["views-000012.png"]


def test_bytes_are_clamped_and_rounded():
    picture = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0]).reshape(1, 5, 1)
    assert to_bytes(picture).flatten().tolist() == [0, 0, 128, 255, 255]


def test_rows_and_columns_stack():
    a, b = torch.zeros(2, 3, 3), torch.ones(2, 3, 3)
    assert row([a, b]).shape == (2, 6, 3) and column([a, b]).shape == (4, 3, 3)
    assert row([a, b])[0, 4, 0] == 1 and column([a, b])[3, 0, 0] == 1
