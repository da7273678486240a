"""Where weights are looked for, and the one line that says what is missing."""

import layouts
import pytest
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextModel

from threestudio_like.priors import published
from threestudio_like.schedule.vp import VP, linear, scaled_linear


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def snapshot(cache, name):
    """A folder such as the hub's own command leaves."""
    home = cache / f"models--{name.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    (home / "snapshots" / ("0" * 40)).mkdir(parents=True)
    return home / "snapshots" / ("0" * 40)


def test_an_absent_name_says_the_command():
    with pytest.raises(ValueError) as caught:
        published.find("stabilityai/stable-zero123")
    text = "weights: 'stabilityai/stable-zero123' is not on this machine; download it with "
    assert str(caught.value) == text + "`hf download stabilityai/stable-zero123` or set weights=FOLDER"


@pytest.mark.parametrize("name", ["no/such/file.ckpt", "./none", "two words", "none"])
def test_what_is_no_name_is_said_in_one_line(name):
    with pytest.raises(ValueError, match=r"^weights: no file or folder [^\n]*$"):
        published.find(name)


def test_a_name_means_its_snapshot_and_a_single_checkpoint_in_it(cache):
    folder = snapshot(cache, "stabilityai/stable-zero123")
    file = layouts.zero123_file(folder / "stable_zero123.ckpt", {"a": torch.zeros(1)})
    assert published.find("stabilityai/stable-zero123") == file


def test_folders(tmp_path):
    (tmp_path / "net" / "unet").mkdir(parents=True)
    with pytest.raises(ValueError, match="neither unet/config.json nor a checkpoint"):
        published.find(str(tmp_path / "net"))
    (tmp_path / "net" / "unet" / "config.json").write_text("{}")
    assert published.find(str(tmp_path / "net")) == tmp_path / "net"
    for name in ("105000.ckpt", "165000.ckpt"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"several checkpoints \(105000.ckpt, 165000.ckpt\); name one"):
        published.find(str(tmp_path))
    assert published.find(str(tmp_path / "105000.ckpt")).name == "105000.ckpt"


def test_files_of_half_precision_are_read_where_they_serve(tmp_path):
    whole = layouts.vae()
    whole.half().save_pretrained(tmp_path / "vae", variant="fp16")
    for precision in ("float16", "float32"):  # alone, they serve for both
        found = published.part(AutoencoderKL, tmp_path, "vae", precision)
        assert found.dtype == getattr(torch, precision)
        assert torch.equal(found.decoder.conv_in.bias.half(), whole.decoder.conv_in.bias)
    layouts.vae().save_pretrained(tmp_path / "vae")
    exact = published.part(AutoencoderKL, tmp_path, "vae", "float32").decoder.conv_in.bias
    assert not torch.equal(exact, exact.half().float())
    with pytest.raises(ValueError, match=r"^weights: .* has no unet/config.json$"):
        published.part(AutoencoderKL, tmp_path, "unet", "float32")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("{", "is not whole: "),
        ("[]", "is not whole: config.json holds no names"),
        ("3", "is not whole: config.json holds no names"),
        ('{"layers_per_block": "a"}', "is not whole: "),
        ("{}", "is not whole: "),
        ('{"nobody_knows": 3}', "is not whole: "),
    ],
)
@pytest.mark.parametrize("kind", [AutoencoderKL, CLIPTextModel])
def test_junk_is_one_line_and_not_looked_for_elsewhere(tmp_path, capfd, kind, settings, words):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text(settings)
    with pytest.raises(ValueError, match=r"^weights: .*/vae has no .safetensors$"):
        published.part(kind, tmp_path, "vae", "float32")
    for file in ("diffusion_pytorch_model.safetensors", "model.safetensors"):
        (tmp_path / "vae" / file).write_bytes(b"no tensors")
    with pytest.raises(ValueError) as caught:
        published.part(kind, tmp_path, "vae", "float32")
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert "bin" not in str(caught.value) and capfd.readouterr() == ("", "")


def test_another_noise_or_prediction_is_refused(tmp_path):
    stable = VP(betas=scaled_linear(1000, 0.00085, 0.012)).alpha_bar
    layouts.scheduler().save_pretrained(tmp_path / "scheduler")
    published.check_schedule(tmp_path, "eps", stable)
    with pytest.raises(ValueError, match="^prediction: .* predicts eps, not v"):
        published.check_schedule(tmp_path, "v", stable)
    with pytest.raises(ValueError, match="^schedule: .*scaled_linear, 1000 levels"):
        published.check_schedule(tmp_path, "eps", VP(betas=linear(1000, 1e-4, 0.02)).alpha_bar)
