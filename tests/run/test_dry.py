"""A dry run: everything is built and begun as a run would, some steps are timed, and nothing stays."""

from pathlib import Path

import pytest
import torch

from threestudio_like.run.dry import Node, duration, label, lines


def test_the_wiring_is_printed_and_nothing_is_written(run, capsys, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = run("dry=true", "stages.second.trainer.max_steps=40")
    said = capsys.readouterr().out
    for line in (
        "tiny\n├─ prompt: a configured prompt\n├─ first: 30 steps\n│  ├─ begins from what its parts make\n",
        "│  ├─ system: System, 5 parameters  seed=0 rate=0.05\n│  │  └─ scene: Scene, 5 parameters\n",
        "│  │     ├─ geometry: Table, 5 parameters  size=5 start=0.0\n",
        "├─ second: 40 steps\n│  ├─ begins from the stage before\n",
        "device: cpu  accelerator=cpu devices=1",
        "(29 timed)",
        "(12 timed)",
        "├─ export: Export  suffix=txt\n└─ score: Score\nabout 0:0",
        " for the stages; export, score come after, and are not timed; ",
    ):
        assert line in said, (line, said)
    assert not outputs.exists() and not list(tmp_path.iterdir())


def test_mistakes_that_only_a_run_would_find_are_found(refused, run, tmp_path: Path) -> None:
    said = refused("dry=true", "stages.second.system.scene.geometry.size=3")
    assert said == "stages.second: no conversion from one size to another"
    assert refused("dry=true", "stages.second.system.rate=3") == "stages.second: rate: 3 is too large"
    assert not (tmp_path / "outputs").exists()


def test_a_run_that_goes_on_can_be_rehearsed(run, capsys) -> None:
    folder = run("plan=[first]", "stages.first.trainer.max_steps=1") / "tiny/a-configured-prompt"
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    run(f"resume={folder}", "dry=true")
    assert "first: 1 steps" in capsys.readouterr().out
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_parameters_that_are_not_trained_are_told_apart() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(999, 1), torch.nn.Linear(1, 1))
    module[0].requires_grad_(False)
    said = label("net", {"_target_": "a.b.Net", "width": 3}, module)
    assert said == "net: Net, 2 parameters and 1,000 frozen  width=3"
    assert label("net", {"_target_": "Net"}, None) == "net: Net"


@pytest.mark.parametrize(("seconds", "clock"), [(42.4, "0:42"), (725.0, "12:05"), (12000.0, "3:20:00")])
def test_durations(seconds: float, clock: str) -> None:
    assert duration(seconds) == clock


def test_long_lines_are_cut() -> None:
    drawn = list(lines(Node("a", [Node("b" * 200, [Node("c", [])])])))
    assert drawn[0] == "a" and drawn[2] == "   └─ c"
    assert drawn[1].startswith("└─ bbb") and drawn[1].endswith("…")
