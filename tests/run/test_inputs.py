"""A picture on the command line brings its own words, or none."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from threestudio_like.run.errors import UserError
from threestudio_like.run.inputs import found, given, with_input


@pytest.mark.parametrize(
    ("overrides", "prompt", "image"),
    [
        ([], "a demo", True),
        (["image='x'"], "", True),
        (["object=x"], "", False),
        (["prompt='a cup'"], "a cup", True),
    ],
)
def test_with_input(tmp_path: Path, overrides: list[str], prompt: str, image: bool) -> None:
    file = tmp_path / "cup.png"
    file.touch()
    words = "a cup" if given("prompt", overrides) else "a demo"
    mesh = str(file) if given("object", overrides) else None
    config = with_input(OmegaConf.create({"image": str(file), "object": mesh, "prompt": words}), overrides)
    assert config.prompt == prompt and (config.image == str(file)) == image


def test_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cup.jpg").touch()
    assert found("image", "cup.jpg") == tmp_path / "cup.jpg"
    assert found("image", "configs/config.yaml").name == "config.yaml"  # comes with the package
    with pytest.raises(UserError, match=r"image: no such file 'cupp.jpg'; did you mean 'cup.jpg'\?"):
        found("image", "cupp.jpg")
