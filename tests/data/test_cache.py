"""Files kept from run to run are whole or absent."""

import pytest

from threestudio_like.data import cache


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "kept"
    with cache.replacing(file) as handle:
        handle.write(b"old")
    with pytest.raises(KeyError), cache.replacing(file) as handle:
        handle.write(b"half of the n")
        raise KeyError
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_folder_is_the_one_asked_for_or_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder(None) == tmp_path / "xdg" / "threestudio_like"
    assert cache.folder(str(tmp_path / "mine")).is_dir()


def test_digests_differ_when_values_do():
    assert cache.digest(1, "a") == cache.digest(1, "a")
    assert (
        len({cache.digest(1, "a"), cache.digest(1, "b"), cache.digest("1", "a"), cache.digest((1, "a"))}) == 4
    )
