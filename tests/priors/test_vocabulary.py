"""The table of word pieces: what is packed comes back, near words are near, what learns, wrong files."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from threestudio_like.priors import vocabulary
from threestudio_like.priors.sentence import pieces_of
from threestudio_like.priors.vocabulary import Vocabulary, listed, main, packed, tables
from threestudio_like.priors.weights import find

PIECES = ["[UNK]", "[CLS]", "[SEP]", "a", "cup", "##board", "blue", ","]


class Network:
    """Tokens that are random functions of the piece, but for the marks, which are zero."""

    def run(self, names, given):
        ids = given["input_ids"]
        assert ids.shape[1] == 3 and (ids[:, 0] == 1).all() and (ids[:, 2] == 2).all()
        known = np.random.default_rng(0).normal(size=(len(PIECES), 384)).astype(np.float32)
        row = np.zeros((*ids.shape, 384), np.float32)
        row[:, 1] = known[ids[:, 1]]
        return [row]


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A table that the command has made, of a network of our own."""
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    monkeypatch.setattr(vocabulary, "session", lambda path: Network())
    made = tmp_path / "table.safetensors"
    assert main(["model.onnx", str(tmp_path / "vocab.txt"), str(made), "--width", "7"]) == 0
    return made


def test_packing_keeps_distances_but_for_rounding():
    torch.manual_seed(0)
    flat = torch.randn(500, 6) @ torch.randn(6, 20) + 5  # six directions hold all of it
    found = packed(flat, 6)
    rows = found["rows"].float() * found["scales"].float()[:, None]
    torch.testing.assert_close(torch.cdist(rows, rows), torch.cdist(flat, flat), rtol=0.03, atol=0.1)
    torch.testing.assert_close(rows.mean(0), torch.zeros(6), rtol=0, atol=0.05)
    strength = rows.square().sum(0)
    assert (strength[:-1] >= strength[1:]).all()


def test_the_command_writes_what_the_network_says(file):
    parts = tables(str(file))
    assert listed(parts["pieces"]) == {piece: i for i, piece in enumerate(PIECES)}
    known = torch.from_numpy(np.random.default_rng(0).normal(size=(len(PIECES), 384)).astype(np.float32)) / 3
    rows = parts["rows"].float() * parts["scales"].float()[:, None]
    assert rows.shape == (8, 7)  # eight pieces less their mean are of seven directions
    torch.testing.assert_close(torch.cdist(rows, rows), torch.cdist(known, known), rtol=0.02, atol=0.05)


def test_prompts_are_their_pieces_and_the_rest_is_empty(file):
    torch.manual_seed(0)
    text = Vocabulary(table=str(file), channels=12, length=4)
    known = listed(tables(str(file))["pieces"])
    assert pieces_of("a blue cupboard", known) == ["a", "blue", "cup", "##board"]
    with torch.no_grad():
        one = text(["a cup", "a blue cupboard", "", "zebra"])
        assert one.shape == (4, 4, 12)
        torch.testing.assert_close(one[0, 2:], one[2, 2:])  # empty places
        torch.testing.assert_close(one[0, 0], one[1, 0])
        assert (one[2] - one[3]).abs().max() > 1e-3  # a word that is not known is a word
        expected = text.project(text.told("a cup")[1]) + text.places[1]
        torch.testing.assert_close(one[0, 1], text.norm(expected))


def test_only_the_projection_learns_and_is_saved(file):
    text = Vocabulary(table=str(file), channels=12, length=4)
    names = {"project.weight", "project.bias", "empty", "places", "norm.weight", "norm.bias"}
    assert set(text.state_dict()) == names == {name for name, _ in text.named_parameters()}
    text(["a cup"])[:, :, 0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in text.parameters())
    other = copy.deepcopy(text)  # as the average of the weights is made
    torch.testing.assert_close(other(["a cup"]), text(["a cup"]))


def test_the_bundled_table_knows_what_is_alike():
    text = Vocabulary(table="words", channels=8, length=16)

    def near(one: str, other: str) -> float:
        a, b = (text.told(word).mean(0) for word in (one, other))
        return float(torch.cosine_similarity(a, b, dim=0))

    assert near("cat", "kitten") > near("cat", "car") + 0.3
    assert near("sofa", "couch") > near("sofa", "lamp") + 0.3
    assert len(text.told("")) == 0 and len(tables(str(find("words")))["rows"]) == 30522


def test_a_text_prior_takes_it(reads):
    reads(Vocabulary(table="words", channels=12, length=5))


def test_mistakes(tmp_path):
    with pytest.raises(ValueError, match=r"text.table: no file 'none', and no such name; bundled: .*words"):
        Vocabulary(table="none", channels=4, length=4)
    with pytest.raises(ValueError, match=r"text.table: .* expected rows, scales and pieces, got denoiser"):
        Vocabulary(table="zero123", channels=4, length=4)
    pieces = torch.tensor(list(b"a\n[UNK]")).byte()
    rows, scales = torch.zeros(3, 2, dtype=torch.int8), torch.zeros(3)
    save_file({"rows": rows, "scales": scales, "pieces": pieces}, tmp_path / "short.safetensors")
    with pytest.raises(ValueError, match=r"2 pieces, rows \(3, 2\), scales \(3,\)"):
        Vocabulary(table=str(tmp_path / "short.safetensors"), channels=4, length=4)
    pieces = torch.tensor(list(b"a")).byte()
    save_file({"rows": rows[:1], "scales": scales[:1], "pieces": pieces}, tmp_path / "few.safetensors")
    with pytest.raises(ValueError, match=r"it has no piece \[UNK\]"):
        Vocabulary(table=str(tmp_path / "few.safetensors"), channels=4, length=4)
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"text.table: .* is not a safetensors file"):
        Vocabulary(table=str(tmp_path / "junk.safetensors"), channels=4, length=4)
