"""Weights on disk: they come back, and what does not fit is said in one line."""

import json

import pytest
import torch
from torch import nn

from threestudio_like.priors.weights import card, find, load, save


def network(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(2, width), nn.Linear(width, 1))


def test_there_and_back(tmp_path):
    one, other = network(), network()
    save(one, tmp_path / "net", {"steps": 7, "metrics": {"psnr": 1.5}})
    load(other, str(tmp_path / "net.safetensors"))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)  # half precision between
        assert b.dtype == torch.float32
    assert card(str(tmp_path / "net.safetensors"))["steps"] == 7
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.json", "net.safetensors"]


def test_missing(tmp_path):
    with pytest.raises(ValueError, match="no file '.*nothing', and no such name; bundled:"):
        load(network(), str(tmp_path / "nothing"))


def test_foreign(tmp_path):
    save(network(4), tmp_path / "net", {})
    with pytest.raises(ValueError, match=r"net.safetensors is not of a Sequential of this size: see '0\."):
        load(network(), str(tmp_path / "net.safetensors"))
    (tmp_path / "junk").write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match="junk is not a safetensors file"):
        load(network(), str(tmp_path / "junk"))


def test_bundled_weights_have_cards():
    for file in find("zero123").parent.glob("*.safetensors"):
        written = json.loads(file.with_suffix(".json").read_text())
        assert {"data", "steps", "metrics", "licence"} <= set(written), file
