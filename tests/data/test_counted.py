"""What a header says, and what only counting tells; whole files are in tests/test_bad_files.py."""

from pathlib import Path

import pytest

from threestudio_like.data.counted import triangles

OFF, PLY = "OFF\n# 9 9 9\n8 12 0\n", "ply\nformat ascii 1.0\nelement face 12\nend_header\nelement face 13\n"


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [
        ("a.off", OFF, 12),
        ("a.off", OFF.replace("\n", "\r\n"), 12),
        ("a.off", "8 12 0\n", 12),
        ("a.off", "OFF", 0),
        ("a.ply", PLY, 12),
        ("a.ply", "ply\n", 0),
        ("a.gltf", '{"accessors": [], "nodes": [], "meshes": []}', 0),
        ("a.gltf", "{", 0),
        ("a.glb", "glTF", 0),
        ("a.stl", "solid", 0),
        ("a.obj", "f 1 2 3\n", 0),
        ("a.xyz", "1 2 3\n", 0),
    ],
)
def test_triangles(tmp_path: Path, name: str, text: str, count: int) -> None:
    (tmp_path / name).write_bytes(text.encode())
    assert triangles(tmp_path / name, 10**7) == count


def test_a_word_that_is_cut_in_two_by_a_block_is_counted(tmp_path: Path, monkeypatch) -> None:
    from threestudio_like.data import counted

    (tmp_path / "a.obj").write_text("v 0 0 0\n" + "f 1 2 3\n" * 500)
    monkeypatch.setattr(counted, "BLOCK", 7)
    assert triangles(tmp_path / "a.obj", 10) == 500
