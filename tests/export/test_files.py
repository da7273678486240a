"""A file is whole or as it was, and nothing else is left beside it."""

import os

import pytest

from threestudio_like.export.files import replacing, write


def test_write_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "deep" / "er" / "a.bin"
    write(path, b"old and long")
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_until_the_end_the_old_file_is_the_file(tmp_path):
    path = tmp_path / "a.png"
    write(path, b"old")
    with replacing(path) as partial:
        # writers choose a format by the suffix, and a rename is atomic within a folder only
        assert partial != path and partial.suffix == ".png" and partial.parent == path.parent
        partial.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and not partial.exists()


def test_a_failed_write_leaves_what_was_there(tmp_path):
    write(tmp_path / "a.bin", b"old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.bin") as partial:
        partial.write_bytes(b"ne")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_writing_nothing_is_an_error_and_keeps_the_old(tmp_path):
    write(tmp_path / "a.bin", b"old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.bin"):
        pass
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_the_disk_has_the_content_before_the_name(tmp_path, monkeypatch):
    """A crash between a rename and a late flush would leave an empty file under the right name."""
    path, calls = tmp_path / "a.bin", []
    flush, rename = os.fsync, os.replace

    def fsync(descriptor):
        calls.append(("flush", os.fstat(descriptor).st_size, path.exists()))
        flush(descriptor)

    def replace(source, target):
        calls.append(("rename", os.stat(source).st_size, path.exists()))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write(path, b"12345")
    assert calls == [("flush", 5, False), ("rename", 5, False)]
