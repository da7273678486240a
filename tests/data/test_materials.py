"""What an OBJ file lacks is said; what it has is not."""

from pathlib import Path

from PIL import Image

from threestudio_like.data.materials import remarks


def test_what_is_there_needs_no_remark(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "maps" / "red cup.png")
    lines = "newmtl a\nmap_Kd -s 1.0 -o 0.0 maps\\red cup.png\nmap_Kd maps/red cup.png\n"
    (tmp_path / "cup.mtl").write_text(lines)
    (tmp_path / "cup.obj").write_text("# a cup\nmtllib cup.mtl\nv 0 0 0\n")
    assert remarks(tmp_path / "cup.obj") == []


def test_each_lack_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cup.mtl").write_text("newmtl a\nmap_Kd a.png\nnewmtl b\nmap_Kd ../b.png\n")
    (tmp_path / "cup.obj").write_text("mtllib cup.mtl\nmtllib saucer.mtl\n")
    lines = remarks(tmp_path / "cup.obj")
    assert [line.removeprefix(f"{tmp_path / 'cup.obj'}: its ") for line in lines] == [
        "texture 'a.png' is not there; those parts are plain",
        "texture '../b.png' lies outside its folder; those parts are plain",
        "materials 'saucer.mtl' is not there; those parts are plain",
    ]


def test_other_formats_carry_their_own(tmp_path: Path) -> None:
    (tmp_path / "cup.glb").write_bytes(b"mtllib cup.mtl")
    assert remarks(tmp_path / "cup.glb") == []
