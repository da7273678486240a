"""Pictures of every kind are read as they look; bad ones end in one clear line; cut-outs land right."""

import contextlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from threestudio_like.data.picture import components, cutout, read, recentred, remarks, resized

COLOR = (200, 100, 50)


def opened(path: Path, **changes) -> torch.Tensor:
    return read(path, **(dict(max_pixels=10**6, max_side=64) | changes))


def plain(mode: str = "RGB", size: tuple[int, int] = (12, 8)) -> Image.Image:
    return Image.new("RGB", size, COLOR).convert(mode, palette=Image.Palette.ADAPTIVE)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGB", "png"),
        ("RGB", "bmp"),
        ("RGB", "webp"),
        ("CMYK", "tif"),
        ("CMYK", "jpg"),
        ("P", "gif"),
        ("YCbCr", "jpg"),
    ],
)
def test_modes_and_formats(tmp_path, mode, suffix):
    plain(mode).save(tmp_path / f"a.{suffix}")
    found = opened(tmp_path / f"a.{suffix}")
    assert found.shape == (8, 12, 4) and (found[..., 3] == 1).all()
    assert torch.allclose(found[..., :3], (torch.tensor(COLOR) / 255).expand(8, 12, 3), atol=0.03)


@pytest.mark.parametrize(
    ("kind", "value"), [(np.uint8, 51), (np.uint16, 13107), (np.float32, 0.2), (bool, True)]
)
def test_grey_of_any_depth(tmp_path, kind, value):
    Image.fromarray(np.full((8, 12), value, dtype=kind)).save(tmp_path / "a.tif")
    grey = 1.0 if kind is bool else 0.2
    assert torch.allclose(opened(tmp_path / "a.tif")[..., :3], torch.tensor(grey), atol=0.003)


def test_sixteen_bit_png_is_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(4, 0)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    assert torch.allclose(opened(tmp_path / "a.png")[0, :, 0], torch.linspace(0, 1, 64), atol=0.01)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_is_kept_in_every_form_it_has(tmp_path, mode):
    picture = plain("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 6, 8))
    if mode == "P":
        palette = picture.convert("RGB").quantize(4)
        picture = palette
        picture.info["transparency"] = palette.getpixel((0, 0))
    else:
        picture = picture.convert(mode)
    picture.save(tmp_path / "a.png")
    alpha = opened(tmp_path / "a.png")[..., 3]
    assert (alpha[:, :6] == 0).all() and (alpha[:, 6:] == 1).all()


def test_a_turned_photograph_is_set_upright(tmp_path):
    picture = plain()
    picture.paste((0, 0, 0), (0, 0, 12, 2))  # dark on top as stored; 6: turn by 90 degrees, top goes right
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    found = opened(tmp_path / "a.png")
    assert found.shape == (12, 8, 4)
    assert found[:, -1, :3].max() == 0 and found[:, 0, 0].min() > 0.7


def test_the_first_frame_of_an_animation(tmp_path):
    plain().save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", (12, 8))])
    assert torch.allclose(opened(tmp_path / "a.gif")[..., :3], torch.tensor(COLOR) / 255, atol=0.01)


def test_large_pictures_are_read_smaller(tmp_path):
    plain(size=(400, 100)).save(tmp_path / "a.png")
    assert opened(tmp_path / "a.png").shape == (16, 64, 4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    Image.open(path).save(path.with_suffix(".jpg"))
    return path


def header(side: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""
    chunks = {b"IHDR": struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0), b"IDAT": zlib.compress(b"0" * 100)}
    parts = [
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks.items()
    ]
    return b"".join([b"\x89PNG\r\n\x1a\n", *parts])


BAD = {
    "words.jpg": (lambda png, jpg: b"not a picture", "is not a picture; expected PNG, JPEG, WebP…"),
    "drawing.svg": (lambda png, jpg: b"<svg/>", "is not a picture"),
    "empty.png": (lambda png, jpg: b"", "is an empty file"),
    "begins.png": (lambda png, jpg: png[:20], "cannot be read to its end"),
    "half.png": (lambda png, jpg: png[:4000], "cannot be read to its end"),
    "half.jpg": (lambda png, jpg: jpg[:1000], "cannot be read to its end"),
    "flipped.png": (lambda png, jpg: png[:60] + b"abc" + png[63:], "cannot be read to its end"),
    "figures.ppm": (
        lambda png, jpg: b"P6 3x 4 255 ",
        "cannot be read to its end",
    ),  # a ValueError of Pillow's
    "bomb.png": (lambda png, jpg: header(60_000), "is too large; expected at most 1 megapixels"),
    "bigger.png": (lambda png, jpg: header(2**31 - 1), "is too large; expected at most 1 megapixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_in_one_line(tmp_path, whole, name):
    made, words = BAD[name]
    (tmp_path / name).write_bytes(made(whole.read_bytes(), whole.with_suffix(".jpg").read_bytes()))
    with pytest.raises(ValueError) as caught:
        opened(tmp_path / name)
    assert str(caught.value).startswith(f"image: {str(tmp_path / name)!r} {words}") and "\n" not in str(
        caught.value
    )


def test_what_is_no_file(tmp_path):
    for name, words in (("none.png", "is not there"), ("", "is a folder; expected a picture")):
        with pytest.raises(ValueError, match=words):
            opened(tmp_path / name)


def test_damaged_bytes_never_end_otherwise(tmp_path, whole):
    rng = np.random.default_rng(0)
    for index in range(300):
        kind = ("png", "jpg")[index % 2]
        damaged = bytearray(whole.with_suffix(f".{kind}").read_bytes())
        for place in rng.integers(0, 200, 4):
            damaged[place] = rng.integers(256)
        (tmp_path / f"a.{kind}").write_bytes(damaged)
        with contextlib.suppress(ValueError):
            assert opened(tmp_path / f"a.{kind}").shape[-1] == 4


@pytest.mark.parametrize(("size", "shape"), [((1, 1), (1, 1, 4)), ((1, 300), (64, 1, 4))])
def test_tiny_and_thin_pictures(tmp_path, size, shape):
    plain(size=size).save(tmp_path / "a.png")
    assert opened(tmp_path / "a.png").shape == shape
    found = recentred(opened(tmp_path / "a.png"), size=32, share=0.75, threshold=0.05)
    assert found.shape == (32, 32, 4) and found[..., 3].max() == 1


def square(alpha: torch.Tensor, color: float = 0.5) -> torch.Tensor:
    return torch.cat([torch.full((*alpha.shape, 3), color), alpha[..., None]], dim=-1)


def never(rgb: torch.Tensor) -> torch.Tensor:
    raise AssertionError("a picture with alpha was matted")


def test_own_alpha_is_used_and_opaque_pictures_are_matted():
    alpha = torch.zeros(10, 10)
    alpha[2:5, 3:9] = 1
    own = square(alpha)
    assert torch.equal(cutout(own, never, name="a", threshold=0.05), own)
    matted = cutout(square(torch.ones(10, 10)), lambda rgb: alpha[..., None], name="a", threshold=0.05)
    assert torch.equal(matted[..., 3], alpha)


def test_a_matte_s_rim_takes_the_object_s_colour():
    alpha = torch.zeros(20, 20, 1)
    alpha[5:15, 5:15], alpha[6:14, 6:14] = 0.5, 1.0
    red, green = torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])
    rgb = red * alpha + green * (1 - alpha)
    found = cutout(torch.cat([rgb, torch.ones_like(alpha)], -1), lambda _: alpha, name="a", threshold=0.05)
    rim = found[..., 3] == 0.5
    assert torch.allclose(found[rim][:, :3], red.expand(int(rim.sum()), 3), atol=1e-6)


def test_nothing_to_see_is_said():
    with pytest.raises(ValueError, match="transparent everywhere"):
        cutout(square(torch.zeros(4, 4)), never, name="a.png", threshold=0.05)
    with pytest.raises(ValueError, match="no object found in 'a.png'"):
        cutout(square(torch.ones(4, 4)), lambda rgb: torch.zeros(4, 4, 1), name="a.png", threshold=0.05)


@pytest.mark.parametrize("box", [(slice(0, 10), slice(30, 70)), (slice(5, 45), slice(60, 70))])
def test_the_object_lands_in_the_middle_at_its_share(box):
    alpha = torch.zeros(50, 80)
    alpha[box] = 1
    found = recentred(square(alpha), size=64, share=0.75, threshold=0.05)
    mask = found[..., 3] > 0.5
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    sides = [len(rows), len(columns)]
    assert max(sides) == 48 and min(sides) == 12
    assert rows.float().mean() == pytest.approx(31.5) and columns.float().mean() == pytest.approx(31.5)
    assert torch.allclose(found[mask][:, :3], torch.tensor(0.5), atol=1e-4)


def test_shrinking_averages_areas_and_ignores_what_alpha_hides():
    picture = torch.zeros(8, 8, 4)
    picture[..., 1] = 1  # green where it is transparent
    picture[:, :4] = torch.tensor([0.25, 0.0, 0.75, 1.0])
    found = resized(picture, 4, 4)
    assert found[..., 3].mean() == pytest.approx(0.5, abs=1e-5)
    seen = found[..., 3] > 0.01
    assert torch.allclose(found[seen][:, :3], torch.tensor([0.25, 0.0, 0.75]), atol=1e-4)


def test_pieces_are_counted_and_sized():
    mask = torch.zeros(20, 20, dtype=torch.bool)
    mask[0:3, 0:3] = mask[10:15, 10:20] = True
    mask[3, 3] = True  # touches the first by its corner
    assert components(mask) == [50, 10]


def test_remarks():
    alpha = torch.zeros(50, 50, 1)
    alpha[10:40, 10:20] = 1
    assert remarks(alpha) == []
    alpha[10:40, 30:50] = 1
    assert len(remarks(alpha)) == 2
    (said,) = remarks(torch.ones(50, 50, 1))
    assert said.startswith("the cut-out is the whole picture")


def test_an_object_of_a_few_pixels_is_refused_with_their_count():
    small = torch.zeros(8, 8, 4)
    small[:3, :5] = 1.0
    with pytest.raises(
        ValueError, match="^image: the object in 'a.png' has 15 pixels; expected at least 16$"
    ):
        cutout(small, lambda rgb: rgb[..., :1], name="a.png", threshold=0.05)
    small[3, 0] = 1.0
    assert cutout(small, lambda rgb: rgb[..., :1], name="a.png", threshold=0.05) is small
