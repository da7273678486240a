"""Any word has tokens; the same word always the same; like words like ones."""

import math

import torch

from threestudio_like.ops.camera import orbit
from threestudio_like.priors.text import Text, pieces_of, view_words, words_of


def small_text() -> Text:
    torch.manual_seed(0)
    return Text(buckets=256, channels=16, length=6, heads=2).eval()


def test_words_and_pieces():
    assert words_of("A blue, enamel CUP!") == ["a", "blue", "enamel", "cup"]
    assert len(pieces_of("cup", 256)) == 4  # <cup>, <cu, cup, up>
    assert set(pieces_of("cupboard", 4096)) & set(pieces_of("cup", 4096))
    assert pieces_of("cup", 8192)[0] == 5265  # CRC-32 of "<cup>", the same in every process


def test_prompts_of_any_length():
    text = small_text()
    prompts = ["", "zyzzyva", "one two three four five six seven eight", "杯子"]
    with torch.no_grad():
        tokens = text(prompts)
        assert tokens.shape == (4, 6, 16)
        torch.testing.assert_close(text(prompts[1:2]), tokens[1:2])  # neighbours do not matter
        torch.testing.assert_close(text(["one two three four five six"]), tokens[2:3])
        assert (text(["b a"]) - text(["a b"])).abs().max() > 1e-3  # order does
    assert tokens.isfinite().all()


def test_all_parts_learn():
    text = small_text()
    text(["a cup", ""])[:, :, 0].sum().backward()
    for parameter in (text.pieces.weight, text.empty, text.places):
        assert parameter.grad.abs().sum() > 0


def test_view_words():
    degrees = torch.tensor([[0, 0], [44, 59], [90, 0], [-90, 10], [180, 0], [-140, 0], [30, 70]])
    azimuth, elevation = (degrees.float() * math.pi / 180).unbind(-1)
    ones = torch.ones(len(degrees))
    camera = orbit(azimuth=azimuth, elevation=elevation, distance=ones, fov_y=ones, height=1, width=1)
    assert view_words(camera) == [
        "front view",
        "front view",
        "side view",
        "side view",
        "back view",
        "back view",
        "overhead view",
    ]
