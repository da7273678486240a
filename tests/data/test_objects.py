"""Mesh files become named objects in the house's axes, and bad ones are refused in one line."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from threestudio_like.data.objects import Objects, caption, held_out, read
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


def test_unusable_files_are_named_in_one_line(tmp_path):
    flat = [(x * 1e-7, y * 1e-7, z) for x, y, z in CUBE]
    missing = [(float("nan"), y, z) for x, y, z in CUBE]
    (tmp_path / "empty.obj").write_text("")
    (tmp_path / "noise.glb").write_bytes(b"not a mesh at all")
    bad = [
        (obj(tmp_path, "thin.obj", flat), "too thin"),
        (obj(tmp_path, "nan.obj", missing), "finite"),
        (tmp_path / "empty.obj", ""),
        (tmp_path / "noise.glb", ""),
        (tmp_path / "absent.obj", "no such file"),
        (tmp_path / "word.txt", "not a mesh"),
    ]
    for path, words in bad:
        with pytest.raises(ValueError, match=f"{path.name}: .*{words}"):
            read(path)


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
        Objects(path=str(tmp_path / "absent"), cache=None).load()


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
