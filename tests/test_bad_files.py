"""Damaged, foreign and hostile pictures and meshes are refused in one line; odd ones are read right."""

import json
import os
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from refusals import refused

from threestudio_like.data import counted, furniture, materials, objects, picture

Make = Callable[[Path], object]
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))


def see(path: Path) -> torch.Tensor:
    return picture.read(path, 10**6, 64)


def bytes_of(image: Image.Image, kind: str, **options: object) -> bytes:
    image.save(stream := BytesIO(), kind, **options)
    return stream.getvalue()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
KINDS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")
WHOLE = {kind: bytes_of(NOISE, kind) for kind in KINDS}


def png(width: int, height: int) -> bytes:
    """A few bytes that say they are huge."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0),
        b"IDAT": zlib.compress(b"0" * 99),
    }
    parts = [
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks.items()
    ]
    return b"".join([b"\x89PNG\r\n\x1a\n", *parts])


PICTURES: dict[str, tuple[bytes | Make, str]] = {
    "empty.png": (b"", "is an empty file; expected a picture"),
    "words.png": (b"not a picture", "is not a picture; expected PNG, JPEG, WebP"),
    "page.jpg": (b"<html><script>alert(1)</script></html>", "is not a picture"),
    "mesh.png": (b"v 0 0 0\nf 1 1 1\n", "is not a picture"),
    "zeros.png": (bytes(5000), "is not a picture"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a picture"),
    "archive.jpg": (b"PK\x03\x04" + bytes(100), "is not a picture"),
    "program.png": (bytes_of(NOISE, "EPS"), "is not a picture"),
    "bomb.png": (png(60_000, 60_000), "is too large; expected at most 1 megapixels"),
    "line.png": (png(2**31 - 1, 1), "is too large; expected at most 1 megapixels"),
    "zero.png": (png(0, 5), ""),
    "missing.png": (lambda path: None, "is not there"),
    "folder.png": (Path.mkdir, "is a folder; expected a picture"),
    "pipe.png": (os.mkfifo, "is a device; expected a picture"),
    "dangling.png": (lambda path: path.symlink_to("nowhere"), "is not there"),
    "circle.png": (lambda path: path.symlink_to(path.name), ""),
    **{f"begin-of.{kind.lower()}": (data[:24], "") for kind, data in WHOLE.items()},
    **{f"half-of.{kind.lower()}": (data[: len(data) // 2], "") for kind, data in WHOLE.items()},
    "nearly.png": (WHOLE["PNG"][:-2000], "cannot be read to its end"),
    "nearly.jpg": (WHOLE["JPEG"][:-500], "cannot be read to its end"),
    "checksum.png": (WHOLE["PNG"][:60] + b"abc" + WHOLE["PNG"][63:], "cannot be read to its end"),
}


def put(path: Path, content: bytes | str | Make) -> Path:
    if callable(content):
        content(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture(autouse=True)
def no_other_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow draws EPS by Ghostscript."""
    for start in ("check_call", "Popen"):
        monkeypatch.setattr(subprocess, start, lambda *_, **__: pytest.fail("a program is started"))


@pytest.mark.parametrize("name", PICTURES)
def test_a_bad_picture(tmp_path: Path, name: str) -> None:
    refused(see, put(tmp_path / name, PICTURES[name][0]), PICTURES[name][1])


def bitten(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes changed or cut off anywhere: a picture of the right form, or one line."""
    kind = data.draw(st.sampled_from(KINDS))
    damaged = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = put(tmp_path / "bitten", bytes(damaged[: data.draw(st.integers(1, len(damaged)))]))
    try:
        found = see(path)
    except ValueError as error:
        assert str(error).startswith(f"image: {str(path)!r} ") and "\n" not in str(error)
    else:
        assert found.shape[-1] == 4 and max(found.shape) <= 64 and found.min() >= 0 and found.max() <= 1


@QUICK
@given(data=st.data())
def test_any_damage(tmp_path: Path, data: st.DataObject) -> None:
    bitten(tmp_path, data)


@pytest.mark.slow
@LONG
@given(data=st.data())
def test_much_damage(tmp_path: Path, data: st.DataObject) -> None:
    bitten(tmp_path, data)


def swapped_profile() -> bytes:
    """sRGB's own profile with red and blue changed over: its red is what sRGB calls blue."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


RED, ORANGE = (255, 0, 0), (200, 100, 50)


def plain(mode: str, color: object, side: int = 4) -> Image.Image:
    return Image.new(mode, (side, side), color)  # type: ignore[arg-type]


def turned(orientation: int) -> bytes:
    """Two pixels, red before blue, stored as the camera was held."""
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), (0, 0, 255))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return bytes_of(image, "PNG", exif=exif)


def moving(kind: str) -> bytes:
    first, second = plain("RGB", ORANGE, 8), plain("RGB", (0, 0, 0), 8)
    exact = {"lossless": True} if kind == "WEBP" else {}
    return bytes_of(first, kind, save_all=True, append_images=[second], **exact)


ODD: dict[str, tuple[bytes, tuple[float, float, float, float]]] = {
    "grey": (bytes_of(plain("L", 51), "PNG"), (0.2, 0.2, 0.2, 1)),
    "grey and alpha": (bytes_of(plain("LA", (51, 102)), "PNG"), (0.2, 0.2, 0.2, 0.4)),
    "one bit": (bytes_of(plain("1", 1), "PNG"), (1, 1, 1, 1)),
    "sixteen bits": (bytes_of(plain("I;16", 13107), "PNG"), (0.2, 0.2, 0.2, 1)),
    "thirty-two bits": (bytes_of(plain("F", 0.2), "TIFF"), (0.2, 0.2, 0.2, 1)),
    "palette": (bytes_of(plain("RGB", RED).quantize(2), "PNG"), (1, 0, 0, 1)),
    "inks": (bytes_of(plain("CMYK", (0, 255, 255, 0)), "TIFF"), (1, 0, 0, 1)),
    "gif": (moving("GIF"), (0.784, 0.392, 0.196, 1)),
    "webp": (moving("WEBP"), (0.784, 0.392, 0.196, 1)),
    "apng": (moving("PNG"), (0.784, 0.392, 0.196, 1)),
    "transparent": (bytes_of(plain("RGBA", (255, 0, 0, 0)), "PNG"), (1, 0, 0, 0)),
    "one pixel": (bytes_of(plain("RGB", RED, 1), "PNG"), (1, 0, 0, 1)),
    "profile of sRGB": (bytes_of(plain("RGB", RED), "PNG", icc_profile=swapped_profile()), (0, 0, 1, 1)),
    "profile and alpha": (
        bytes_of(plain("RGBA", (255, 0, 0, 51)), "PNG", icc_profile=swapped_profile()),
        (0, 0, 1, 0.2),
    ),
    "profile of no use": (bytes_of(plain("RGB", RED), "PNG", icc_profile=b"junk"), (1, 0, 0, 1)),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_picture_has_the_right_colours(tmp_path: Path, name: str) -> None:
    content, color = ODD[name]
    found = see(put(tmp_path / name, content))
    wanted = torch.tensor(color, dtype=torch.float32)
    torch.testing.assert_close(found, wanted.expand_as(found), atol=0.012, rtol=0)


@pytest.mark.parametrize(
    ("orientation", "shape", "red"),
    [(1, (1, 2), (0, 0)), (3, (1, 2), (0, 1)), (6, (2, 1), (0, 0)), (8, (2, 1), (1, 0))],
)
def test_a_turned_picture_stands_upright(tmp_path: Path, orientation, shape, red) -> None:
    found = see(put(tmp_path / "a.png", turned(orientation)))
    assert found.shape[:2] == shape and found[red][0] == 1 and found[..., 2].sum() == 1


def test_a_long_thin_picture_keeps_its_longest_side(tmp_path: Path) -> None:
    assert see(put(tmp_path / "a.png", bytes_of(Image.new("RGB", (1, 9000)), "PNG"))).shape == (64, 1, 4)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_picture_that_may_not_be_read(tmp_path: Path) -> None:
    path = put(tmp_path / "a.png", WHOLE["PNG"])
    path.chmod(0)
    refused(see, path, "Permission denied")


# meshes
CUBE = (
    "".join(f"v {x} {y} {z}\n" for x in (0, 1) for y in (0, 1) for z in (0, 1)) + "vt 0 0\nvt 1 0\nvt 1 1\n"
)
SIDES = "".join(
    f"f {a}/1 {b}/2 {c}/3\n" for a, b, c in [(1, 2, 4), (1, 4, 3), (5, 7, 8), (5, 8, 6), (1, 5, 6), (1, 6, 2)]
)
BALL = trimesh.creation.icosphere(subdivisions=2)
POINTS = "element vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
PLY = f"ply\nformat binary_little_endian 1.0\n{POINTS}"
FACE = "property list uchar int vertex_indices\nend_header\n"
TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 1]], "<f4").tobytes() + np.arange(3, dtype="<u4").tobytes()
MANY, WHOLE_MESH, LIMIT = 2_000_000_000, "not a whole mesh of the format", "expected at most 10,000,000"


def ball(kind: str) -> bytes:
    made = BALL.export(file_type=kind)
    return made.encode() if isinstance(made, str) else made


def glb(count: int = 3, **changes: object) -> bytes:
    """One triangle, or what says so."""
    tree: dict[str, object] = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": 48}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": 12}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"componentType": 5125, "count": count, "type": "SCALAR"}
            | ({"bufferView": 1} if count == 3 else {}),
        ],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }
    text = json.dumps(tree | changes).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", 48, 0x004E4942) + TRIANGLE
    return b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body


def sparse(header: bytes, size: int) -> Make:
    def make(path: Path) -> None:
        path.write_bytes(header)
        os.truncate(path, size)  # holes take no room on the disk

    return make


DAG = [{"children": [i + 1, i + 1]} for i in range(40)] + [{"mesh": 0}]  # a triangle 2^40 times
MESHES: dict[str, tuple[bytes | str | Make, str]] = {
    **{f"empty{suffix}": (b"", "an empty file; expected a mesh") for suffix in objects.SUFFIXES},
    **{f"words{suffix}": (b"hello, world\n", "") for suffix in objects.SUFFIXES},
    **{f"half.{kind}": (ball(kind)[:3000], "") for kind in ("glb", "ply", "stl", "off")},
    "cup.fbx": (b"Kaydara", "not a mesh that is read here; expected one of .obj"),
    "cup.zip": (b"PK\x03\x04", "not a mesh that is read here"),
    "folder.glb": (Path.mkdir, "a folder; expected a mesh file"),
    "pipe.obj": (os.mkfifo, "a device; expected a mesh file"),
    "missing.obj": (lambda path: None, "no such file"),
    "nan.obj": (CUBE.replace("v 0 0 0", "v nan 0 0") + SIDES, "a vertex is not finite"),
    "inf.obj": (CUBE.replace("v 1 1 1", "v 1 inf 1") + SIDES, "a vertex is not finite"),
    "points.obj": (CUBE, "it has no triangles"),
    "points.ply": (PLY + "end_header\n" + "\0" * 36, "it has no triangles"),
    "lines.obj": (CUBE + "l 1 2\nl 2 3\n", "it has no triangles"),
    "degenerate.obj": (CUBE + "f 1 1 2\nf 3 3 3\nf 1 2 1\n", "next to nothing to see"),
    "flat.obj": ("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "next to nothing to see"),
    "index.obj": (CUBE + "f 1 2 99\n", WHOLE_MESH),
    "negative.obj": (CUBE + "f 1 2 -99\n", WHOLE_MESH),
    "letters.obj": (CUBE + "f a b c\n", WHOLE_MESH),
    "short.ply": (PLY + f"element face 9\n{FACE}" + "\0" * 36, ""),
    "huge.ply": (PLY + f"element face {MANY}\n{FACE}", f"it has 2,000,000,000 triangles; {LIMIT}"),
    "huge.off": (f"OFF\n# by hand\n3 {MANY} 0\n0 0 0\n", f"it has 2,000,000,000 triangles; {LIMIT}"),
    "huge.glb": (glb(3 * MANY), f"it has 2,000,000,000 triangles; {LIMIT}"),
    "copies.glb": (glb(nodes=DAG), f"it has 1,099,511,627,776 triangles; {LIMIT}"),
    "circle.glb": (glb(nodes=[{"mesh": 0, "children": [1]}, {"mesh": 0, "children": [0]}]), WHOLE_MESH),
    "huge.stl": (sparse(bytes(80) + struct.pack("<I", 10**7 + 1), 84 + 50 * (10**7 + 1)), LIMIT),
    "lying.stl": (bytes(80) + struct.pack("<I", 2**32 - 1) + bytes(50), ""),
    "outside.gltf": (json.dumps({"asset": {"version": "2.0"}, "buffers": [{"uri": "../../etc/passwd"}]}), ""),
    "nobuffer.gltf": (json.dumps({"asset": {"version": "2.0"}, "buffers": [{"uri": "gone.bin"}]}), ""),
    "list.gltf": ("[]", ""),
}


@pytest.mark.parametrize("name", MESHES)
def test_a_bad_mesh(tmp_path: Path, name: str) -> None:
    refused(objects.read, put(tmp_path / name, MESHES[name][0]), MESHES[name][1])


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (".stl", ball("stl")),
        (".ply", ball("ply")),
        (".off", ball("off")),
        (".glb", ball("glb")),
        (".glb", glb()),
    ],
)
def test_a_header_counts_what_is_read(tmp_path: Path, kind: str, content: bytes) -> None:
    path = put(tmp_path / f"a{kind}", content)
    assert counted.triangles(path, 10) == len(objects.read(path).faces)


def test_a_long_text_is_counted_by_its_lines(tmp_path: Path) -> None:
    path = put(tmp_path / "a.obj", CUBE + SIDES * 3)
    assert (counted.triangles(path, 10), counted.triangles(path, 10**6)) == (18, 0)
    path = put(tmp_path / "a.stl", "solid\n" + "facet normal 0 0 1 outer loop endloop endfacet\n" * 30)
    assert (counted.triangles(path, 10), counted.triangles(path, 10**6)) == (30, 0)


def test_odd_meshes_are_read(tmp_path: Path) -> None:
    fan = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nv 0 -1 1\nf 1 2 3\nf 1 2 4\nf 1 2 5\n"  # three on one edge
    assert len(objects.read(put(tmp_path / "fan.obj", fan)).faces) == 3
    boxes = [trimesh.creation.box().apply_translation([2 * i % 20, i // 10 * 2, 0]) for i in range(1000)]
    trimesh.util.concatenate(boxes).export(tmp_path / "boxes.ply")
    assert len(objects.read(tmp_path / "boxes.ply").faces) == 12_000


SECRET = bytes_of(plain("RGB", RED), "PNG")
MATERIALS = {
    "gone.mtl": ("", "", "materials 'gone.mtl' is not there"),
    "../up.mtl": ("", "", "materials '../up.mtl' lies outside its folder"),
    "/etc/passwd": ("", "", "materials '/etc/passwd' lies outside its folder"),
    "a.mtl": ("map_Kd gone.png", "", "texture 'gone.png' is not there"),
    "b.mtl": ("map_Kd ../secret.png", "", "texture '../secret.png' lies outside its folder"),
    "c.mtl": ("map_Kd words.png", b"hello", "texture 'words.png' cannot be read"),
    "d.mtl": ("map_Kd bomb.png", png(60_000, 60_000), "texture 'bomb.png' cannot be read"),
    "e.mtl": ("map_Kd eps.png", bytes_of(NOISE, "EPS"), "texture 'eps.png' cannot be read"),
}


@pytest.mark.parametrize("name", MATERIALS)
def test_what_an_obj_lacks_is_said_and_nothing_outside_is_read(tmp_path: Path, caplog, name: str) -> None:
    text, content, words = MATERIALS[name]
    folder = tmp_path / "models"
    folder.mkdir()
    put(tmp_path / "secret.png", SECRET)
    put(tmp_path / "up.mtl", "newmtl a\nKd 1 0 0\n")
    if text:
        put(folder / name, f"newmtl a\n{text}\n")
        if content:
            put(folder / text.split()[-1], content)
    path = put(folder / "cup.obj", f"mtllib {name}\n{CUBE}usemtl a\n{SIDES}")
    mesh = objects.read(path)
    assert [record.message for record in caplog.records] == materials.remarks(path)
    assert caplog.records[0].message.startswith(f"{path}: its {words}")
    assert mesh.rgb is not None and float(mesh.rgb.std(-1).max()) == 0  # grey, and nothing of the red


def archive(files: dict[str, bytes], said: int = 0) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    data = stream.getvalue()
    size = struct.pack("<I", len(next(iter(files.values()))))
    return data.replace(size, struct.pack("<I", said)) if said else data


LIST = b"model#1=/a/cup.obj\nname#1=cup\n"
ARCHIVES = {
    "words.sh3f": (b"hello", "not a catalogue of furniture"),
    "empty.sh3f": (b"", "not a catalogue of furniture"),
    "half.sh3f": (archive({furniture.PROPERTIES: LIST})[:60], "not a catalogue of furniture"),
    "other.sh3f": (archive({"a.txt": b"hello"}), "not a catalogue of furniture"),
    "number.sh3f": (archive({furniture.PROPERTIES: b"model#x=a\n"}), "not a catalogue of furniture"),
    "turn.sh3f": (archive({furniture.PROPERTIES: LIST + b"modelRotation#1=1 0\n"}), "not a catalogue"),
    "bomb.sh3f": (archive({furniture.PROPERTIES: LIST}, 2**31), "it unpacks to 2,147,483,648 bytes"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_bad_catalogue(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / name, ARCHIVES[name][0])
    refused(lambda file: list(furniture.models(file.parent)), path, ARCHIVES[name][1])


TABLES = {
    "picture": PICTURES,
    "odd picture": ODD,
    "mesh": MESHES,
    "materials": MATERIALS,
    "catalogue": ARCHIVES,
}
CASES = [f"{kind}: {name}" for kind, table in TABLES.items() for name in table]
