"""The recipes of CONTRIBUTING.md, followed to the letter in a folder outside the repository."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

import launch

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
COMMAND = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
# small, so that a step takes a moment
TINY = [
    "stages.imagine.trainer.max_steps=1",
    "stages.imagine.data.size=32",
    "stages.imagine.data.resolution.value=8",
    "stages.imagine.data.cameras.resolution.value=8",
    "stages.imagine.system.renderer.num_steps=16",
    "stages.imagine.system.renderer.resolution=8",
    "stages.imagine.system.scene.geometry.encoding.num_levels=2",
    "stages.imagine.system.scene.geometry.encoding.log2_table=8",
]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a reader would have made, on Python's path."""
    assert len(FILES) == 7 and len(COMMAND) == 1
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("THREESTUDIO_LIKE_RUN", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "my_parts"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def launched(monkeypatch: pytest.MonkeyPatch, *overrides: str) -> None:
    path, _, _, *words = shlex.split(COMMAND[0])
    assert path == "PYTHONPATH=."
    monkeypatch.setattr(sys, "argv", ["launch.py", *words, *overrides])
    try:
        launch.main()
    finally:
        GlobalHydra.instance().clear()


def test_the_parts_are_found_checked_and_stepped(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, *TINY)
    (folder,) = (outside / "outputs" / "imagine").iterdir()
    assert json.loads((folder / "run.json").read_text())["state"] == "finished"
    metrics = json.loads((folder / "imagine" / "metrics.json").read_text())
    assert metrics["steps"] == 1 and metrics["loss/view"] > 0
    assert (folder / "imagine" / "scene.safetensors").exists()
    parts = (folder / "config.yaml").read_text()
    assert all(f"my_parts.{part}" in parts for part in ("pull.Pull", "plain.Plain", "imagine.Imagine"))


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("stages.imagine.system.guidance.view.prior.std=0", "expected a number above 0, got 0"),
        ("stages.imagine.system.weights.view=much", "expected"),
        ("+stages.imagine.system.weights.shape=1", "no such loss"),
        (
            "guidance@stages.imagine.system.guidance.view=pul",
            "guidance: no option 'pul'; did you mean 'pull'?",
        ),
        (
            "stages.imagine.system.guidance.view._target_=my_parts.pull.Pul",
            "no class 'my_parts.pull.Pul'; did",
        ),
    ],
)
def test_their_mistakes_are_lines_as_ours(
    outside: Path, monkeypatch, capsys, override: str, line: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        launched(monkeypatch, override)
    told = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and len(told) == 1 and line in told[0]
    assert not (outside / "outputs").exists()


def test_the_rules_are_a_page() -> None:
    rules = TEXT.partition("## Adding a part")[0]
    assert len(rules.splitlines()) < 45
    assert all(len(line) <= 110 for text in FILES.values() for line in text.splitlines())
