"""Every command of README.md composes and passes the checks before the work; the cheap are run (slow)."""

import importlib
import itertools
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hydra
import pytest
import trimesh
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf
from PIL import Image

from threestudio_like.data import named
from threestudio_like.run.arguments import checked, quoted
from threestudio_like.run.composition import resolved, tree_of
from threestudio_like.run.inputs import SCENE
from threestudio_like.run.stages import check_parts

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = "\n".join(re.findall(r"^```\w*\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
PROSE = re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
INLINE = re.findall(r"`(python (?:launch\.py|-m threestudio_like)[^`]*)`", PROSE)
LINES = [line.strip() for line in BLOCKS.splitlines() if line.startswith("python ")]
COMMANDS = list(dict.fromkeys(" ".join(line.split()) for line in [*LINES, *INLINE]))
LAUNCHES = [command for command in COMMANDS if command.startswith("python launch.py")]
CHEAP = ("experiment=train/smld_toy", "--cfg job", "run.table")


def words_of(command: str) -> list[str]:
    """What follows `python launch.py`, without the comment."""
    return shlex.split(command, comments=True)[2:]


@pytest.fixture(scope="module")
def default() -> str:
    """The configuration that a run of no words at all would keep."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return OmegaConf.to_yaml(OmegaConf.create(resolved(hydra.compose("config"))))  # type: ignore[arg-type]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, default: str) -> Iterator[Path]:
    """A folder with the files that the README takes for granted; the furniture is, installed or not."""
    for name in ("cup.jpg", "mug.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    trimesh.creation.box().export(tmp_path / "duck.glb")
    for name in ("lego", "meshes", "outputs"):
        (tmp_path / name).mkdir()
    for command in LAUNCHES:
        for word in words_of(command):
            if word.startswith("image=outputs/"):  # of a run before
                (tmp_path / word.removeprefix("image=")).parent.mkdir(parents=True)
                Image.new("RGB", (8, 8)).save(tmp_path / word.removeprefix("image="))
            if word.startswith("init="):
                (tmp_path / word.removeprefix("init=")).mkdir(parents=True)
                for name in SCENE:
                    (tmp_path / word.removeprefix("init=") / name).touch()
            if word.startswith("resume="):
                folder = tmp_path / word.removeprefix("resume=")
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "config.yaml").write_text(default)
                (folder / "run.json").write_text(json.dumps({"plan": [], "overrides": []}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(named, "check", lambda name: None)
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        yield tmp_path
    GlobalHydra.instance().clear()


def runs_of(overrides: list[str], *, sweep: bool) -> list[list[str]]:
    """Of a sweep, the runs with the first values of all keys and with the last; else the one run."""
    if not sweep:
        return [overrides]
    values = []
    for override in OverridesParser.create().parse_overrides(overrides):
        choices: list[str] = []
        if override.is_interval_sweep():
            choices = [str(override.value().start), str(override.value().end)]
        elif override.is_sweep_override():
            choices = list(override.sweep_string_iterator())
        ends = [f"{override.get_key_element()}={choices[end]}" for end in (0, -1)] if choices else []
        values.append(ends or [override.input_line] * 2)
    return [list(run) for run in zip(*values, strict=True)]


@pytest.mark.parametrize("command", LAUNCHES)
def test_a_command_would_start(desk: Path, command: str) -> None:
    words = checked(quoted(words_of(command)))
    flags = [word for word in words if word.startswith("-")]
    overrides = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    for run in runs_of(overrides, sweep="-m" in flags):
        config = hydra.compose("config", overrides=run)
        if "--cfg" not in flags:
            check_parts(tree_of(config, run))


def test_the_table_s_command_runs(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [command for command in COMMANDS if "-m threestudio_like.run.table" in command]
    assert commands
    for command in commands:
        _, _, module, *arguments = shlex.split(command, comments=True)
        assert importlib.import_module(module).main(arguments) == 0
        assert "a-cup-cake" in capsys.readouterr().out


def test_there_are_as_many_as_it_shows() -> None:
    assert len(LAUNCHES) >= 20 and len(COMMANDS) > len(LAUNCHES)
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = re.findall(r"^make (\w+)|`make (\w+)`", TEXT, re.MULTILINE)
    assert {name for pair in made for name in pair if name} <= set(targets)


def test_a_command_that_drifts_would_fail(desk: Path) -> None:
    with pytest.raises(ConfigCompositionException, match="stpes"):
        test_a_command_would_start(desk, "python launch.py plan=[coarse] stages.coarse.stpes=3")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if any(word in c.partition(" #")[0] for word in CHEAP)]
)
def test_the_cheap_ones_run(tmp_path: Path, command: str) -> None:
    (tmp_path / "outputs").mkdir()
    words = shlex.split(command, comments=True)[1:]
    words = [str(ROOT / "launch.py") if word == "launch.py" else word for word in words]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
