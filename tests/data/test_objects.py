"""Mesh files become named objects in the house's axes, and bad ones are refused in one line."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from threestudio_like.data import furniture, objects
from threestudio_like.data.objects import SUFFIXES, Objects, caption, held_out, read
from threestudio_like.ops.mesh import signed_volume

CUBE = [(x, y, z) for x in (0, 1) for y in (0, 2) for z in (0, 4)]
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def obj(folder: Path, name: str, vertices: list = CUBE) -> Path:
    """A box of 1 x 2 x 4 in the file's x, y, z."""
    lines = [f"v {x} {y} {z}" for x, y, z in vertices]
    lines += ["f " + " ".join(str(i + 1) for i in quad) for quad in QUADS]
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_file_axes_become_the_houses_centred_and_of_longest_side_one(tmp_path):
    mesh = read(obj(tmp_path, "box.obj"))
    extent = mesh.vertices.amax(0) - mesh.vertices.amin(0)
    assert torch.allclose(
        extent, torch.tensor([1.0, 0.25, 0.5])
    )  # front (file z), side (file x), up (file y)
    assert torch.allclose(mesh.vertices.amax(0), extent / 2)
    assert float(signed_volume(mesh.vertices, mesh.faces)) == pytest.approx(0.125, rel=1e-5)
    assert len(mesh.vertices) == 8


def test_the_front_of_the_file_is_the_houses_front(tmp_path):
    spike = [(x, y, z if (x, y, z) != (1, 2, 4) else 9) for x, y, z in CUBE]
    mesh = read(obj(tmp_path, "spike.obj", spike))
    furthest = mesh.vertices[mesh.vertices[:, 0].argmax()]
    assert torch.allclose(furthest, torch.tensor([0.5, 0.5 / 9, 1 / 9]), atol=1e-6)


@pytest.mark.parametrize("suffix", ["glb", "ply", "stl", "off"])
def test_every_format_gives_the_same_shape(tmp_path, suffix):
    box = trimesh.creation.box(extents=(1, 2, 4))
    if suffix in ("glb", "ply"):  # the others are written without colours
        box.visual.vertex_colors = np.tile([200, 100, 50, 255], (8, 1)).astype(np.uint8)
    box.export(tmp_path / f"box.{suffix}")
    mesh = read(tmp_path / f"box.{suffix}")
    assert torch.allclose(mesh.vertices.amax(0), torch.tensor([0.5, 0.125, 0.25]), atol=1e-5)
    assert float(signed_volume(mesh.vertices, mesh.faces)) == pytest.approx(0.125, rel=1e-4)
    if suffix in ("glb", "ply"):
        assert torch.allclose(mesh.rgb, torch.tensor([200.0, 100.0, 50.0]) / 255)


def written(vertices: list, faces: list) -> bytes:
    lines = [f"v {x} {y} {z}" for x, y, z in vertices]
    return "\n".join([*lines, *("f " + " ".join(map(str, face)) for face in faces), ""]).encode()


def ply(faces: str) -> bytes:
    head = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    count = len(faces.splitlines())
    face = f"element face {count}\nproperty list uchar int vertex_indices\n" if count else ""
    return f"{head}{face}end_header\n0 0 0\n1 0 0\n0 1 0\n{faces}\n".encode()


def ball(suffix: str) -> bytes:
    data = trimesh.creation.icosphere(subdivisions=2).export(file_type=suffix)
    return data if isinstance(data, bytes) else data.encode()


def changed(number: float, factor: float = 1.0) -> list:
    return [(number if x == 0 else x * factor, y * factor, z) for x, y, z in CUBE]


FACES = [(1, 2, 3), (2, 4, 3)]
NOT_WHOLE = "not a whole mesh of the format that its name says"
NOISE = np.random.default_rng(0).bytes(5000)
BAD = {
    "thin.obj": (written(changed(0, 1e-7), FACES), "next to nothing to see in it"),
    "point.obj": (written([(1, 1, 1)] * 8, FACES), "next to nothing to see in it"),
    "nan.obj": (written(changed(float("nan")), FACES), "a vertex is not finite"),
    "inf.obj": (written(changed(float("inf")), FACES), "a vertex is not finite"),
    "points.obj": (written(CUBE, []), "it has no triangles"),
    "points.ply": (ply(""), "it has no triangles"),
    "index.obj": (written(CUBE, [(1, 2, 99)]), NOT_WHOLE),
    "before.obj": (written(CUBE, [(1, 2, -99)]), NOT_WHOLE),
    "half.obj": (written(CUBE, [(1.5, 2, 3)]), NOT_WHOLE),
    "flat.obj": (written([(1, 2, "")] * 3, [(1, 2, 3)]), NOT_WHOLE),
    "index.ply": (ply("3 0 1 7"), "a triangle has vertex 7, but they are 0 to 2"),
    "before.ply": (ply("3 0 1 -1"), "a triangle has vertex -1, but they are 0 to 2"),
    "alone.gltf": (b'{"asset": {"version": "2.0"}, "buffers": [{"uri": "gone.bin"}]}', ""),
    **{f"empty{suffix}": (b"", "an empty file; expected a mesh (.obj, .glb") for suffix in SUFFIXES},
    **{f"noise{suffix}": (NOISE, "") for suffix in SUFFIXES},
    **{f"half{s}": (ball(s[1:])[:3000], "") for s in (".glb", ".ply", ".stl", ".off")},
    "duck.fbx": (b"Kaydara", "not a mesh that is read here; expected one of .obj, .glb"),
    "duck": (ball("glb"), "not a mesh that is read here; expected one of .obj, .glb"),
}


@pytest.mark.parametrize("name", BAD)
def test_unusable_files_are_named_in_one_line(tmp_path, name, capsys, caplog):
    content, words = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read(tmp_path / name)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / name}: {words}") and "\n" not in text
    assert words or text.endswith("no triangles") or NOT_WHOLE in text
    assert capsys.readouterr() == ("", "") and not caplog.records


def test_what_is_no_file(tmp_path):
    (tmp_path / "folder.glb").mkdir()
    for name, words in (("absent.obj", "no such file"), ("folder.glb", "a folder; expected a mesh file")):
        with pytest.raises(ValueError, match=f"{name}: {words}"):
            read(tmp_path / name)


def test_too_many_faces(tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "MAX_FACES", 11)
    with pytest.raises(ValueError, match=r"box.obj: it has 12 triangles; expected at most 11"):
        read(obj(tmp_path, "box.obj"))


def test_a_folder_is_read_in_depth_skips_bad_files_with_a_line_and_is_kept(tmp_path, caplog, monkeypatch):
    folder, kept = tmp_path / "models", tmp_path / "kept"
    (folder / "deep").mkdir(parents=True)
    obj(folder, "OfficeChair_02.obj")
    obj(folder / "deep", "red-cup.obj")
    (folder / "broken.obj").write_text("v 1 2")
    with caplog.at_level(logging.WARNING):
        first = Objects(path=str(folder), cache=str(kept)).load()
    assert [o.name for o in first] == ["office chair", "red cup"]
    assert "broken.obj" in caplog.text
    monkeypatch.setattr(trimesh, "load_scene", lambda *_, **__: pytest.fail("read again"))
    again = Objects(path=str(folder), cache=str(kept)).load()
    for one, other in zip(first, again, strict=True):
        assert one.name == other.name
        assert all(torch.equal(a, b) for a, b in zip(one.mesh[:3], other.mesh[:3], strict=True))
    assert [p.suffix for p in kept.iterdir()] == [".npz"]  # nothing partial


def test_an_edited_folder_is_another_one(tmp_path):
    obj(tmp_path, "cup.obj")
    source = Objects(path=str(tmp_path), cache=None)
    before = source.fingerprint()
    assert source.fingerprint() == before
    obj(tmp_path, "plate.obj")
    assert source.fingerprint() != before


def test_a_folder_with_nothing_and_a_path_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no usable mesh"):
        Objects(path=str(tmp_path), cache=str(tmp_path / "kept")).load()
    with pytest.raises(ValueError, match="no such file or folder"):
        Objects(path=str(tmp_path / "absent"), cache=None)


def test_without_the_catalogue_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(furniture, "CATALOGUE", tmp_path / "absent")
    with pytest.raises(ValueError, match="absent'; apt-get install sweethome3d-furniture, or give a folder"):
        Objects(path=str(tmp_path / "absent"), cache=None)


def test_captions_are_words():
    cases = {
        "OfficeChair_02": "office chair",
        "red-cup": "red cup",
        "bed3": "bed",
        "7": "7",
        "TV stand": "tv stand",
    }
    assert {stem: caption(stem) for stem in cases} == cases


def test_the_split_is_by_hash_of_the_name_about_one_in_ten():
    names = [f"object {i}" for i in range(3000)]
    assert held_out(names[5]) == (int(hashlib.sha256(b"object 5").hexdigest(), 16) % 10 == 0)
    assert sum(map(held_out, names)) == pytest.approx(300, abs=60)
