"""Embeddings of pictures and words: of unit length, of any size, each row for itself."""

import math

import pytest
import torch

from threestudio_like.priors.embedding import MAX_SCALE, Embedding
from threestudio_like.priors.text import Text
from threestudio_like.priors.weights import save


def embedding(weights: str | None = None) -> Embedding:
    torch.manual_seed(0)
    text = Text(buckets=64, channels=8, length=6, heads=2)
    return Embedding(
        size=16,
        widths=[8, 16],
        groups=4,
        channels=12,
        text=text,
        text_channels=8,
        temperature=0.1,
        weights=weights,
    )


@pytest.mark.parametrize("side", [16, 24, 50])
def test_rows_are_of_length_1_and_of_each_picture_alone(side):
    made, image = embedding().eval(), torch.rand(4, side, side, 4)
    both = made.pictures(image)
    assert both.shape == (4, 12)
    torch.testing.assert_close(torch.linalg.vector_norm(both, dim=-1), torch.ones(4))
    torch.testing.assert_close(made.pictures(image.roll(1, 0)), both.roll(1, 0), atol=2e-3, rtol=0)


def test_words_that_are_equal_are_embedded_alike_and_others_are_not():
    one, same, other = embedding().eval().words(["a red cup", "a red cup", "an oak table"])
    torch.testing.assert_close(one, same)
    assert torch.linalg.vector_norm(one).item() == pytest.approx(1, abs=1e-5)
    assert (one - other).abs().max() > 1e-3


def test_the_scale_is_one_over_the_temperature_and_bounded():
    made = embedding()
    assert made.scale.item() == pytest.approx(10, rel=1e-5)
    with torch.no_grad():
        made.log_scale.fill_(math.log(1000))
    assert made.scale.item() == pytest.approx(MAX_SCALE)


def test_weights_are_read_back(tmp_path):
    one = embedding()
    with torch.no_grad():
        one.picture_head.bias.add_(1.0)
    save(one, tmp_path / "embedding", {})
    other = embedding(str(tmp_path / "embedding.safetensors"))
    torch.testing.assert_close(other.picture_head.bias, one.picture_head.bias, rtol=1e-3, atol=1e-4)
