"""The frozen encoder: pieces as BERT's own tokenizer makes them, tokens asked for once, what learns."""

import copy

import numpy as np
import pytest
import torch
from transformers import BertTokenizer

from threestudio_like.priors import sentence
from threestudio_like.priors.sentence import Sentence, encoded, pieces_of, words

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "cup",
    "##board",
    "blue",
    "cafe",
    "##s",
    ",",
    "-",
    "b",
    "_",
]


class Network:
    """Tokens that are their number, and how long the prompt is."""

    calls = 0

    def run(self, names, given):
        Network.calls += 1
        ids = given["input_ids"]
        assert ids.shape == given["attention_mask"].shape == given["token_type_ids"].shape
        row = np.repeat(ids[..., None], 384, axis=-1).astype(np.float32)
        row[..., 1] = ids.shape[1]
        return [row / 10]


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes one, with a network of our own."""
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    (tmp_path / "model.onnx").write_bytes(b"")
    monkeypatch.setattr(sentence, "session", lambda path: Network())
    encoded.cache_clear()

    def make(length: int = 5) -> Sentence:
        torch.manual_seed(0)
        files = {"model": str(tmp_path / "model.onnx"), "vocabulary": str(tmp_path / "vocab.txt")}
        return Sentence(channels=12, length=length, **files)

    return make


@pytest.mark.parametrize(
    "prompt",
    [
        "a blue cup",
        "CUPBOARDS, a cup-board",
        "café cups",
        "a zebra cup",
        "",
        "cup's",
        "b_a",
        "a" * 101,
        "cup\t a\n杯",
    ],
)
def test_pieces_are_those_of_bert(made, tmp_path, prompt):
    made()
    known = words(str(tmp_path / "vocab.txt"))
    reference = BertTokenizer(vocab=known, do_lower_case=True)
    assert pieces_of(prompt, known) == reference.tokenize(prompt)


def test_a_prompt_is_encoded_once_alone_and_padded(made):
    text, Network.calls = made(), 0
    with torch.no_grad():
        one = text(["a cup", "blue cupboards", "a cup", ""])
        assert Network.calls == 3 and one.shape == (4, 5, 12)
        torch.testing.assert_close(text(["blue cupboards"])[0], one[1])
        assert torch.equal(one[0], one[2]) and (one[0] - one[1]).abs().max() > 1e-3
        assert torch.equal(one[3, 2:], text(["a cup"])[0, 2:]) is False  # [CLS] [SEP], then empty places
        torch.testing.assert_close(one[0, 4], one[3, 4])  # both empty
    assert Network.calls == 3


def test_only_the_projection_learns_and_is_saved(made):
    text = made()
    assert set(text.state_dict()) == {
        "project.weight",
        "project.bias",
        "empty",
        "places",
        "norm.weight",
        "norm.bias",
    }
    text(["a cup", ""]).square().sum(-1)[:, 0].sum().backward()
    text(["a cup"])[:, :, 0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in text.parameters())
    assert text.project.weight.grad.abs().sum() > 0 and text.empty.grad.abs().sum() > 0
    other = copy.deepcopy(text)  # as the average of the weights is made
    torch.testing.assert_close(other(["a cup"]), text(["a cup"]))


def test_a_text_prior_takes_it(made, reads):
    reads(made())


def test_mistakes(made, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"text.model: no such file"):
        Sentence(model="none.onnx", vocabulary=str(tmp_path / "vocab.txt"), channels=4, length=4)
    (tmp_path / "bad.txt").write_text("a\nb\n")
    with pytest.raises(ValueError, match=r"has no line \[CLS\]"):
        words(str(tmp_path / "bad.txt"))
    monkeypatch.undo()
    with pytest.raises(ValueError, match="no network that onnxruntime reads"):
        sentence.session(str(tmp_path / "bad.txt"))
