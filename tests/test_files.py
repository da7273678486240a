"""A file is whole or as it was, and nothing else is left beside it."""

import csv
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from io import StringIO
from pathlib import Path
from threading import Barrier

import pytest

from threestudio_like.files import Unwritable, append, clear, replacing, write, write_csv, writing


@pytest.mark.parametrize(("content", "stored"), [(b"\r\n\xff", b"\r\n\xff"), ("é\n", b"\xc3\xa9\n")])
def test_write_makes_folders_and_replaces(tmp_path: Path, content: bytes | str, stored: bytes) -> None:
    path = tmp_path / "deep" / "er" / "a.bin"
    write(path, b"old and long")
    write(path, content)
    assert path.read_bytes() == stored
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.png", "a.b.tar", "a"])
def test_until_the_end_the_old_file_is_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write(path, b"old")
    with replacing(path) as partial:
        # writers choose a format by the suffix, and a rename is atomic within a folder only
        assert partial != path and partial.suffix == path.suffix and partial.parent == path.parent
        assert partial.name.startswith(".") and str(os.getpid()) in partial.name
        partial.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and not partial.exists()


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "a.bin", b"old")
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), replacing(tmp_path / "a.bin") as partial:
            partial.write_bytes(b"ne")
            raise error
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_writing_nothing_is_an_error_and_keeps_the_old(tmp_path: Path) -> None:
    write(tmp_path / "a.bin", b"old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.bin"):
        pass
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_anybody_who_may_read_a_new_file_may_read_this_one(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write(tmp_path / "a.bin", b"")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_disk_has_the_content_before_the_name_and_the_name_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls = tmp_path / "a.bin", []
    flush, rename = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        same = os.path.samestat(os.fstat(descriptor), os.stat(tmp_path))
        calls.append(("folder" if same else os.fstat(descriptor).st_size, path.exists()))
        flush(descriptor)

    def replace(source: Path, target: Path) -> None:
        calls.append(("rename", path.exists()))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write(path, b"12345")
    assert calls == [(5, False), ("rename", False), ("folder", True)]


def test_writers_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    path, count = tmp_path / "a.bin", 8
    together = Barrier(count)

    def long_write(letter: str) -> None:
        with replacing(path) as partial, open(partial, "w") as file:
            for _ in range(50):
                file.write(letter)
                file.flush()
            together.wait()  # all are open before the first is done

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(long_write, "abcdefgh"))
    assert path.read_text() in {letter * 50 for letter in "abcdefgh"}
    assert list(tmp_path.iterdir()) == [path]
    with ExitStack() as stack:  # nor do those of one thread
        inner, outer = (stack.enter_context(replacing(path)) for _ in range(2))
        inner.write_bytes(b"1")
        outer.write_bytes(b"2")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.EACCES])
def test_what_cannot_be_written_is_named(tmp_path: Path, number: int) -> None:
    path, refusal = tmp_path / "a.bin", OSError(number, os.strerror(number))
    write(path, b"old")
    for hidden in (False, True):  # torch raises an error of its own when its file refuses
        with pytest.raises(Unwritable) as caught, replacing(path) as partial:
            partial.write_bytes(b"ne")
            try:
                raise refusal
            except OSError:
                if hidden:
                    raise RuntimeError("unexpected pos") from None
                raise
        free = " MB free there" if number == errno.ENOSPC else ""
        assert str(caught.value).startswith(f"cannot write {path} ({os.strerror(number)}")
        assert str(caught.value).endswith(f"{free})")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_read_is_another_matter(tmp_path: Path) -> None:
    refusal = PermissionError(errno.EACCES, "Permission denied", "/somewhere/else.png")
    with pytest.raises(PermissionError) as caught, writing(tmp_path / "deep" / "a.bin"):
        raise refusal
    assert caught.value is refusal


def test_what_killed_writers_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    kept = ["last.ckpt", ".lock", ".12-last.ckpt", ".x-0123abcd-last.ckpt", "12-0123abcd-last.ckpt"]
    for name in (*kept, ".12-0123abcd-last.ckpt", ".4194304-ffffffff-a\nb"):
        (tmp_path / "a" / "b" / name).touch()
    clear(tmp_path)
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == sorted(kept)


def test_append(tmp_path: Path) -> None:
    for line in ("a\n", "é\n"):
        append(tmp_path / "new" / "lines", line)
    assert (tmp_path / "new" / "lines").read_text(encoding="utf-8") == "a\né\n"
    with pytest.raises(Unwritable, match="cannot write .*/it .Not a directory"):
        append(tmp_path / "new" / "lines" / "in" / "it", "a")


def test_a_place_that_is_taken_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone" / "far")
    for place in ("file/a", "file/a/b", "nowhere/a", "folder"):
        with pytest.raises(Unwritable, match=f"cannot write {tmp_path / place} "):
            write(tmp_path / place, "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "nowhere"]


def test_errors_that_come_from_each_other_are_looked_at_once(tmp_path: Path) -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    with pytest.raises(RuntimeError, match="first"), writing(tmp_path):
        raise first


def test_a_table_is_read_back_as_it_was(tmp_path):
    rows = [["a, b", 'said "c"'], ["two\nlines", ""]]
    write_csv(tmp_path / "table.csv", ["x", "y"], [rows[0], ["two\nlines", None]])
    assert list(csv.reader(StringIO((tmp_path / "table.csv").read_text()))) == [["x", "y"], *rows]
