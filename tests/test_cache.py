"""Where things are kept from run to run, and under which names."""

from threestudio_like import cache


def test_the_folder_is_the_one_asked_for_or_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder(None) == tmp_path / "xdg" / "threestudio_like"
    assert cache.folder(str(tmp_path / "mine")).is_dir()


def test_digests_differ_when_values_do():
    assert cache.digest(1, "a") == cache.digest(1, "a")
    assert (
        len({cache.digest(1, "a"), cache.digest(1, "b"), cache.digest("1", "a"), cache.digest((1, "a"))}) == 4
    )
