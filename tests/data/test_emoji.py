"""Pictures named by their codepoints: which are read, what they are called, where they are put."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from threestudio_like.data.album import Cameras
from threestudio_like.data.emoji import Emoji, main, name_of
from threestudio_like.data.objects import held_out

CAMERAS = Cameras(fov_y=49.134, distance=[1.4, 1.9], elevation=[-10.0, 60.0], size=32)
ANIMALS = [f"{code:x}" for code in range(0x1F400, 0x1F43F)]


def picture(colour: tuple[int, int, int]) -> Image.Image:
    """A block twice as high as wide, off the middle."""
    image = Image.new("RGBA", (64, 64))
    image.paste((*colour, 255), (8, 4, 28, 44))
    return image


@pytest.fixture
def folder(tmp_path) -> Path:
    """Some animals, and files that are none."""
    place = tmp_path / "package" / "assets"
    place.mkdir(parents=True)
    for i, stem in enumerate([*ANIMALS, "2764-fe0f", "1f469-200d-1f4bb", "ffffff"]):
        picture((4 * i, 255 - 4 * i, 40)).save(place / f"{stem}.webp", lossless=True)
    (place / "readme.md").write_text("no picture")
    (place / "1f6f8.webp").write_bytes(b"damaged")
    return tmp_path


def emoji(path: Path, cache: Path, **changes) -> Emoji:
    settings = {"copies": 3, "fill": [0.5, 0.75], "seed": 0, **changes}
    return Emoji(path=str(path), cache=str(cache), **settings)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("package/assets/1f6f8.webp", "flying saucer"),
        ("2764-fe0f.png", "heavy black heart"),
        ("1F42A.WEBP", "dromedary camel"),
        ("1f469-200d-1f4bb.webp", None),  # a woman, a joiner and a laptop
        ("10ffff.webp", None),
        ("ffffff.webp", None),
        ("cup.png", None),
        ("1f6f8.txt", None),
    ],
)
def test_names(place, name):
    assert name_of(place) == name


def test_split_by_name_as_meshes_are(folder, tmp_path):
    seen, kept = emoji(folder, tmp_path / "cache").albums(CAMERAS)
    assert seen.names == kept.names and len(seen.names) == len(ANIMALS) + 1
    assert {seen.names[i] for i in kept.rows} == {name for name in seen.names if held_out(name)}
    assert sorted([*seen.rows, *kept.rows]) == list(range(len(seen.names))) and len(kept.rows)
    assert {"rat", "heavy black heart"} <= set(seen.names) and "flying saucer" not in seen.names


def test_copies_are_whole_and_of_the_asked_size(folder, tmp_path):
    seen, _ = emoji(folder, tmp_path / "cache").albums(CAMERAS)
    assert seen.pictures.shape == (len(seen.names), 3, 32, 32, 4) and seen.poses.shape[1:] == (3, 3)
    thing = seen.pictures[seen.names.index("rat")]
    heights = []
    for copy in thing:
        rows, columns = (np.flatnonzero(copy[..., 3].any(axis)) for axis in (1, 0))
        heights.append(len(rows))
        assert 16 <= len(rows) <= 24 and len(columns) == pytest.approx(len(rows) / 2, abs=1)
        inside = copy[copy[..., 3] == 255][:, :3]
        assert len(inside) and np.abs(inside.astype(int) - [0, 255, 40]).max() <= 1  # straight, not darkened
    assert len(set(heights)) > 1 or not np.array_equal(thing[0], thing[1])


def test_an_archive_is_read_as_its_folder_is_and_once(folder, tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "emoji.tgz", "w:gz") as archive:
        archive.add(folder / "package", "package")
    packed = emoji(tmp_path / "emoji.tgz", tmp_path / "cache")
    one, other = packed.albums(CAMERAS)[0], emoji(folder / "package", tmp_path / "other").albums(CAMERAS)[0]
    assert one.names == other.names and np.array_equal(one.pictures, other.pictures)
    monkeypatch.setattr(Emoji, "named", lambda self: pytest.fail("read twice"))
    assert np.array_equal(packed.albums(CAMERAS)[0].pictures, one.pictures)


def test_the_held_out_ones_are_unpacked_under_their_names(folder, tmp_path, capsys):
    with tarfile.open(tmp_path / "emoji.tgz", "w:gz") as archive:
        archive.add(folder / "package", "package")
    assert main([str(tmp_path / "emoji.tgz"), str(tmp_path / "out")]) == 0
    files = sorted((tmp_path / "out").iterdir())
    names = {name for name in map(name_of, (f"{code}.webp" for code in ANIMALS)) if held_out(name)}
    assert {file.stem.replace("-", " ") for file in files} == names and "pictures" in capsys.readouterr().out
    code = next(code for code in ANIMALS if name_of(f"{code}.webp") == files[0].stem.replace("-", " "))
    assert files[0].read_bytes() == (folder / "package" / "assets" / f"{code}.webp").read_bytes()
    (tmp_path / "empty").mkdir()
    for place, said in (("none.tgz", "no such file"), ("empty", "no picture named")):
        assert main([str(tmp_path / place), str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err


def test_mistakes(tmp_path):
    with pytest.raises(ValueError, match="no such file or folder"):
        emoji(tmp_path / "none", tmp_path)
    with pytest.raises(ValueError, match="path: not given"):
        Emoji(path=None, copies=2, fill=[0.5, 0.7], seed=0, cache=None)
    (tmp_path / "broken.tgz").write_bytes(io.BytesIO(b"no archive").getvalue())
    with pytest.raises(ValueError, match=r"not a whole .tgz"):
        emoji(tmp_path / "broken.tgz", tmp_path / "cache").albums(CAMERAS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no picture named by its codepoint"):
        emoji(tmp_path / "empty", tmp_path / "cache").albums(CAMERAS)
    for changes, word in (
        ({"fill": [0.9, 0.5]}, "fill"),
        ({"fill": [0.5, 1.5]}, "fill"),
        ({"copies": 1}, "copies"),
    ):
        with pytest.raises(ValueError, match=word):
            emoji(tmp_path, tmp_path / "cache", **changes)
