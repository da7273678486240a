"""Names are safe, folders are never shared."""

import json
from pathlib import Path

import pytest

from threestudio_like.run.errors import UserError
from threestudio_like.run.folder import LONGEST, RunFolder, claimed, slug, title


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A blue enamel cup", "a-blue-enamel-cup"),
        ("../../etc/passwd", "etc-passwd"),
        ("<script>alert(1)</script>", "script-alert-1-script"),
        (".hidden\n", "hidden"),
        ("a\0b\\c:d", "a-b-c-d"),
        ("", ""),
        ("...", ""),
    ],
)
def test_slug(text: str, name: str) -> None:
    assert slug(text) == name


def test_slug_fits_any_file_system() -> None:
    assert len(slug("杯" * 200).encode()) <= LONGEST
    assert slug("cup " * 100).endswith("cup")


def test_title_takes_the_first_that_is_given() -> None:
    given = {"name": "N", "prompt": "P", "sources": ["/a/I.png"]}
    for key, expected in (("name", "n"), ("prompt", "p"), ("sources", "i")):
        assert title(**given) == expected
        given[key] = "" if key == "prompt" else None if key == "name" else []
    assert title(**given) == "untitled"
    assert title(name=None, prompt="", sources=["shapes/7"]) == "shapes-7"


def test_claimed(tmp_path: Path) -> None:
    names = [claimed(tmp_path / "new", "cup").name for _ in range(3)]
    assert names == ["cup", "cup-2", "cup-3"]


def test_claimed_where_nothing_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for parent in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        with pytest.raises(UserError, match=f"outputs: cannot write in {parent}"):
            claimed(parent, "name")


SOUND = {"plan": ["a"], "overrides": ["seed=1"], "stages": {"a": {"state": "finished", "seconds": 1.5}}}
DAMAGED = {
    "overrides": [None, [1], "seed=1"],
    "plan": [None, {"a": 1}, [None]],
    "stages": [[], {"coarse": "x"}, {"coarse": {"seconds": "x"}}, None],
    "after": ["x", {"score": {"result": 3}}],
}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"plan": [', "Expecting value"),
        ("", "Expecting value"),
        ("[" * 100_000, "too many brackets in each other"),
        *((text, "it is not the record of a run") for text in ("{}", "[]", "3", "null")),
        *((json.dumps({**SOUND, key: value}), f"'{key}' ") for key in DAMAGED for value in DAMAGED[key]),
    ],
)
def test_damaged_manifest(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "run.json").write_text(text)
    (tmp_path / ".1-01234567-last.ckpt").touch()
    for _ in range(2):  # the lock is let go
        with pytest.raises(UserError, match=rf"^resume: {tmp_path}/run.json cannot be read \({words}"):
            RunFolder(tmp_path, writes=True)
    assert len(list(tmp_path.iterdir())) == 3


def test_who_holds_the_folder_clears_what_was_left(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(SOUND))
    (tmp_path / "a").mkdir()
    left = tmp_path / "a" / ".1-01234567-last.ckpt"
    left.touch()
    RunFolder(tmp_path, writes=False)
    assert left.exists()
    RunFolder(tmp_path, writes=True).close()
    assert not left.exists()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first = RunFolder(tmp_path, writes=True)
    with pytest.raises(UserError, match="another process is at work"):
        RunFolder(tmp_path, writes=True)
    RunFolder(tmp_path, writes=False)
    first.close()
    RunFolder(tmp_path, writes=True).close()


def test_manifest(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, writes=True)
    folder.record(state="running", plan=["coarse"], overrides=[])
    folder.record_part("stages", "coarse", state="running")
    folder.record_part("stages", "coarse", seconds=3.0)
    RunFolder(tmp_path, writes=False).record(state="never written")
    folder.close()
    manifest = json.loads((tmp_path / "run.json").read_text())
    assert manifest["state"] == "running"
    assert manifest["stages"] == {"coarse": {"state": "running", "seconds": 3.0}}
