"""Weights on disk: they come back, and what does not fit is said in one line."""

from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from torch import nn

from threestudio_like.priors.weights import card, load, save

CONFIGS = Path(__file__).parents[2] / "configs"


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
    line = r"net.safetensors does not fit Sequential: '0\.weight' is 4 x 2, expected 3 x 2$"
    with pytest.raises(ValueError, match=line):
        load(network(), str(tmp_path / "net.safetensors"))
    (tmp_path / "junk").write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match="junk is not a safetensors file"):
        load(network(), str(tmp_path / "junk"))


@pytest.mark.parametrize("name", ["zero123", "text_to_image", "cues", "instructpix2pix"])
def test_bundled_weights_fit_their_yaml_and_have_cards(name):
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose(overrides=[f"+priors@prior={name}"])
    untrained = hydra.utils.instantiate(config.prior, weights=None, _convert_="all").state_dict()
    trained = hydra.utils.instantiate(config.prior, _convert_="all").state_dict()
    assert all(not torch.equal(trained[key], untrained[key]) for key in trained if key.endswith("weight"))
    assert {"data", "steps", "metrics", "licence"} <= set(card(name))


def test_what_the_card_says_of_training_must_be_so(tmp_path):
    class Told(nn.Linear):
        def described(self):
            return {"prediction": "x0", "pixels": 32}

    file = str(tmp_path / "net.safetensors")
    save(Told(2, 1), tmp_path / "net", {"prediction": "x0"})  # says nothing of pixels
    load(Told(2, 1), file)
    save(Told(2, 1), tmp_path / "net", {"prediction": "eps"})
    with pytest.raises(ValueError, match=r"was trained with prediction = 'eps'; here it is 'x0'$"):
        load(Told(2, 1), file)
    (tmp_path / "net.json").unlink()  # weights alone are taken at their word
    load(Told(2, 1), file)
