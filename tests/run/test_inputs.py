"""A picture on the command line brings its own words, or none."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from threestudio_like.run.errors import UserError
from threestudio_like.run.inputs import SCENE, found, given, scene_at, source, with_input


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


def test_words_that_are_made_from_the_picture_stay(tmp_path: Path) -> None:
    file = tmp_path / "soft-ice_cream.webp"
    file.touch()
    tree = {"image": None, "object": None, "dataset": None, "prompt": "${words:${image}}"}
    config = OmegaConf.create(tree | {"image": str(file)})
    assert with_input(config, [f"image={file}"]).prompt == "soft ice cream"
    assert OmegaConf.create(tree).prompt == ""


def test_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cup.jpg").touch()
    assert found("image", "cup.jpg") == tmp_path / "cup.jpg"
    assert found("image", "configs/config.yaml").name == "config.yaml"  # comes with the package
    with pytest.raises(UserError, match=r"image: no such file 'cupp.jpg'; did you mean 'cup.jpg'\?"):
        found("image", "cupp.jpg")


@pytest.mark.parametrize("target", ["nowhere", "link.png"])
def test_a_link_that_leads_nowhere(tmp_path: Path, target: str) -> None:
    (tmp_path / "link.png").symlink_to(target)
    with pytest.raises(UserError, match=r"^image: '.*/link.png' is a link that leads nowhere$"):
        found("image", str(tmp_path / "link.png"))


def test_an_object_may_be_a_name_and_a_dataset_a_folder(tmp_path: Path) -> None:
    tree = {"image": "demo.png", "object": "shapes/torus", "dataset": None, "prompt": "a demo"}
    config = with_input(OmegaConf.create(tree), ["object=shapes/torus"])
    assert (config.object, config.image, config.prompt) == ("shapes/torus", None, "")
    tree |= {"object": None, "dataset": str(tmp_path)}
    assert with_input(OmegaConf.create(tree), ["dataset=x"]).dataset == str(tmp_path)
    with pytest.raises(UserError, match=r"object: shapes: no 'torsu'; did you mean 'torus'\?"):
        with_input(OmegaConf.create(tree | {"object": "shapes/torsu"}), ["object=x"])


@pytest.mark.parametrize(
    ("key", "name", "line"),
    [
        ("image", "folder", "image: 'folder' is a folder; expected a picture's file, such as PNG or JPEG"),
        ("object", "folder", "object: 'folder' is a folder; expected a mesh's file, such as GLB or OBJ"),
        ("dataset", "cup.jpg", "dataset: 'cup.jpg' is a file; expected a folder of posed pictures"),
        ("dataset", "foldr", "dataset: no such folder 'foldr'; did you mean 'folder'?"),
        ("image", "/dev/null", "image: '/dev/null' is a device; expected a picture's file"),
        ("image", "x" * 5000, f"image: cannot read '{'x' * 99}… (File name too long)"),
        ("image", "~no-such-user/cup.jpg", "image: no such file '~no-such-user/cup.jpg'"),
        ("object", "furniture/" + "x" * 5000, "object: "),
    ],
)
def test_what_is_no_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, name: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cup.jpg").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError) as caught:
        source(key, name)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def test_elevation_is_of_a_picture(tmp_path: Path) -> None:
    (tmp_path / "cup.png").touch()
    tree = {"image": str(tmp_path / "cup.png"), "object": None, "dataset": None, "prompt": ""}
    config = OmegaConf.create(tree | {"elevation": 40})
    assert with_input(config, ["elevation=40"]).elevation == 40
    with pytest.raises(UserError, match="elevation: says where image= is seen from, and there is none"):
        with_input(config, ["elevation=40", "object=shapes/torus"])


def test_a_stage_is_found_and_near_ones_are_named(tmp_path: Path) -> None:
    for stage in ("coarse", "texture"):
        (tmp_path / "cup" / stage).mkdir(parents=True)
        for name in SCENE:
            (tmp_path / "cup" / stage / name).touch()
    assert scene_at(f"{tmp_path}/cup/coarse") == tmp_path / "cup" / "coarse"
    for wrong in ("cup", "cup/coars"):
        with pytest.raises(UserError, match=rf"init: no .*/{wrong}'; did you mean '{tmp_path}/cup/coarse'"):
            scene_at(f"{tmp_path}/{wrong}")
    for file in SCENE:
        with pytest.raises(
            UserError, match=rf"init: .*/{file}' is a file; did you mean '{tmp_path}/cup/coarse'"
        ):
            scene_at(f"{tmp_path}/cup/coarse/{file}")
    (tmp_path / "other").touch()
    with pytest.raises(UserError, match=r"init: .*/other' is a file; expected a stage's folder"):
        scene_at(f"{tmp_path}/other")
    (tmp_path / "cup" / "coarse" / SCENE[1]).unlink()
    (tmp_path / "cup" / "texture" / SCENE[1]).unlink()
    with pytest.raises(UserError, match="init: no scene in .*; expected a stage's folder"):
        scene_at(f"{tmp_path}/cup")
