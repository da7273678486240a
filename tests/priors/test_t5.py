"""T5 is held as asked, where that can be."""

import layouts
import pytest
import torch
from transformers import T5EncoderModel

from threestudio_like.priors.t5 import computes_in, held


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("t5")
    layouts.t5(place, "_3", layouts.TOKEN)
    return place


def test_whole_it_is_the_file_s_in_half_precision(folder):
    theirs = T5EncoderModel.from_pretrained(folder / "text_encoder_3")
    ours = held("whole", folder, "text_encoder_3")
    words = torch.tensor([[3, 4, 5, 1]])
    found, expected = (network(words).last_hidden_state.float() for network in (ours, theirs))
    assert ours.dtype == torch.bfloat16 and not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("how", ["offload", "8bit"])
def test_what_needs_a_device_says_so(folder, monkeypatch, how):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="^text_encoder: .* need a CUDA device"):
        held(how, folder, "text_encoder_3")


def test_embeddings_of_8_bits_are_told_apart():
    assert computes_in("8bit") != computes_in("whole") == computes_in("offload")
