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
    tree = {"image": str(file), "object": mesh, "dataset": None, "prompt": words}
    config = with_input(OmegaConf.create(tree), overrides)
    assert config.prompt == prompt and (config.image == str(file)) == image


def test_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cup.jpg").touch()
    assert found("image", "cup.jpg") == tmp_path / "cup.jpg"
    assert found("image", "configs/config.yaml").name == "config.yaml"  # comes with the package
    with pytest.raises(UserError, match=r"image: no such file 'cupp.jpg'; did you mean 'cup.jpg'\?"):
        found("image", "cupp.jpg")


def test_an_object_may_be_a_name_and_a_dataset_a_folder(tmp_path: Path) -> None:
    tree = {"image": "demo.png", "object": "shapes/torus", "dataset": None, "prompt": "a demo"}
    config = with_input(OmegaConf.create(tree), ["object=shapes/torus"])
    assert (config.object, config.image, config.prompt) == ("shapes/torus", None, "")
    tree |= {"object": None, "dataset": str(tmp_path)}
    assert with_input(OmegaConf.create(tree), ["dataset=x"]).dataset == str(tmp_path)
    with pytest.raises(UserError, match=r"object: shapes: no 'torsu'; did you mean 'torus'\?"):
        with_input(OmegaConf.create(tree | {"object": "shapes/torsu"}), ["object=x"])
