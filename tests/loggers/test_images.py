"""Pictures arrive whole in the folder and at the dashboards."""

import numpy as np
import torch
from PIL import Image

from threestudio_like.loggers.images import CAPTION, column, opened, row, save, sheet, show, to_bytes


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


def test_a_sheet_of_pictures_from_files(tmp_path):
    files = {}
    for name, (height, width), shade in (("small", (10, 20), 0.2), ("large", (40, 200), 0.6)):
        files[name] = tmp_path / f"{name}.png"
        save(files[name], torch.full((height, width, 3), shade))
    assert torch.allclose(opened(files["small"]), torch.full((10, 20, 3), 51 / 255))
    board = sheet(files, 100)
    assert board.shape == (2 * CAPTION + 10 + 20, 100, 3)  # the large one at half its size
    assert torch.allclose(board[CAPTION : CAPTION + 10, :20], torch.tensor(0.2), atol=0.01)
    assert torch.allclose(board[-20:], torch.tensor(0.6), atol=0.01)
