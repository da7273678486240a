"""Files of Gaussians: the bytes, back again, and what is refused."""

import struct

import pytest
import torch

from threestudio_like.geometry.ply import packed, unpacked


def test_the_bytes():
    content = packed({"x": torch.tensor([1.0, 2.0]), "rot_0": torch.tensor([3.0, 4.0])})
    header = b"ply\nformat binary_little_endian 1.0\nelement vertex 2\n"
    header += b"property float x\nproperty float rot_0\nend_header\n"
    assert content == header + struct.pack("<4f", 1, 3, 2, 4)


def test_and_back():
    columns = {name: torch.randn(7) for name in ("x", "opacity", "scale_0")}
    found = unpacked(packed(columns))
    assert list(found) == list(columns)
    assert all(torch.equal(found[name], columns[name]) for name in columns)
    commented = packed(columns).replace(b"element", b"comment made elsewhere\nelement", 1)
    assert torch.equal(unpacked(commented)["opacity"], columns["opacity"])


GOOD = packed({"x": torch.zeros(3)})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"solid", "not a PLY file"),
        (GOOD[:20], "not a PLY file"),
        (GOOD.replace(b"binary_little_endian", b"ascii"), "binary_little_endian"),
        (GOOD.replace(b"vertex", b"face"), "vertices alone"),
        (GOOD.replace(b"float x", b"double x"), "float properties"),
        (GOOD[:-1], "ends too early"),
        (GOOD + b"\0", "too late"),
    ],
)
def test_what_is_refused(content, complaint):
    with pytest.raises(ValueError, match=complaint):
        unpacked(content)
