"""Lines of runs, and their means."""

import json
import os
from pathlib import Path

import pytest

from threestudio_like.run.folder import RunFolder
from threestudio_like.run.table import main, means, rows, text


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Three runs: two finished, one that was killed before it had scores."""
    for name, state, scores in (
        ("cup", "finished", {"volume_iou": 0.5, "seconds": 100.0, "front_psnr": 20.0}),
        ("duck", "finished", {"volume_iou": 0.7, "seconds": 300.0}),
        ("fox", "interrupted", None),
    ):
        folder = tmp_path / "dreamcraft3d" / "small" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"experiment": "dreamcraft3d/small", "state": state}))
        if scores:
            (folder / "metrics.json").write_text(json.dumps({**scores, "stages": {}}))
    return tmp_path


def test_every_run_has_a_line_and_finished_ones_a_mean(outputs: Path) -> None:
    found = rows(outputs)
    assert [(run.name, run.state) for run in found] == [
        ("cup", "finished"),
        ("duck", "finished"),
        ("fox", "interrupted"),
    ]
    (mean,) = means(found)
    assert mean.scores == {"volume_iou": pytest.approx(0.6), "seconds": 200.0}  # only what both have
    assert mean.name == "mean of 2"


def test_runs_of_other_lengths_have_means_of_their_own(tmp_path: Path) -> None:
    for name, steps, iou in (("a", 10, 0.1), ("b", 10, 0.3), ("c", 90, 0.7), ("d", 90, 0.9), ("e", 5, 0.0)):
        (tmp_path / name).mkdir()
        record = {"experiment": "x", "state": "finished", "stages": {"coarse": {"steps": steps}}}
        (tmp_path / name / "run.json").write_text(json.dumps(record))
        (tmp_path / name / "metrics.json").write_text(json.dumps({"volume_iou": iou}))
    found = [(mean.name, mean.place["step"], mean.scores["volume_iou"]) for mean in means(rows(tmp_path))]
    assert found == [("mean of 2", "10", pytest.approx(0.2)), ("mean of 2", "90", pytest.approx(0.8))]


def test_runs_of_one_name_in_several_folders_stand_together(outputs: Path) -> None:
    for folder in ("first", "second"):
        (outputs / folder).mkdir()
        record = {"experiment": "dreamcraft3d/small", "state": "finished"}
        (outputs / folder / "run.json").write_text(json.dumps(record))
    twins = [outputs / "first", outputs / "second"]
    for parent in twins:
        (parent / "cup").mkdir()
        (parent / "run.json").rename(parent / "cup" / "run.json")
        (parent / "cup" / "metrics.json").write_text(json.dumps({"volume_iou": 0.1}))
    assert [run.name for run in rows(outputs)] == ["cup", "cup", "cup", "duck", "fox"]


def test_the_table_is_markdown_with_equal_columns(outputs: Path) -> None:
    lines = text(rows(outputs)).splitlines()
    assert len({len(line) for line in lines}) == 1 and len(lines) == 5
    assert "| 0.5 " in lines[2] and lines[1].startswith("| ---")
    assert "front_psnr" in lines[0] and "ssim" not in lines[0]  # which no run has


def test_the_command_prints_it_and_refuses_what_is_no_folder(outputs: Path, capsys) -> None:
    assert main([str(outputs)]) == 0
    assert "mean of 2" in capsys.readouterr().out
    assert main([str(outputs / "nothing")]) == 2
    assert capsys.readouterr().err.startswith("error: expected one folder")


def test_a_run_at_work_is_told_from_a_killed_one_with_its_step(tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "cup"
    (folder / "coarse").mkdir(parents=True)
    record = {"state": "running", "plan": [], "overrides": [], "started": "2026-01-01T00:00:00+0000"}
    record |= {"stages": {"first": {"steps": 9}, "coarse": {"state": "running"}}, "tags": ["a", "b"]}
    (folder / "run.json").write_text(json.dumps({**record, "note": "one | two"}))
    (folder / "coarse" / "metrics.jsonl").write_text('{"step": 19}\n{"step": 29}\n{"step": 3')
    os.utime(folder / "coarse" / "metrics.jsonl", (1767225690,) * 2)
    held = RunFolder(folder, writes=True)
    (line,) = rows(tmp_path)
    assert line.state == "running" and line.scores == {"seconds": 90.0}
    assert line.place["stage"] == "coarse" and line.place["step"] == "29" and line.place["tags"] == "a b"
    held.close()
    (line,) = rows(tmp_path)
    assert line.state == "killed"
    assert "| killed | coarse | 29   | 2026-01-01T00:00 | a b  | one \\| two | 90      |" in text([line])


DAMAGES = {
    "run.json": [
        '{"state": ',
        "3",
        "[" * 100_000,
        '{"tags": null}',
        '{"experiment": 3, "state": null}',
        '{"experiment": "a", "state": null}',
        '{"stages": []}',
        '{"stages": {"a": 3}}',
        '{"started": 3}',
    ],
    "metrics.json": [
        '{"psnr": "x"}',
        '{"psnr": null}',
        '{"psnr": true}',
        "[]",
        '{"psnr": ',
        '{"psnr": 1' + "0" * 400 + "}",
    ],
}


@pytest.mark.parametrize(("file", "text"), [(file, text) for file in DAMAGES for text in DAMAGES[file]])
def test_a_damaged_run_has_a_line_beside_the_others(outputs: Path, file: str, text: str, capsys) -> None:
    (outputs / "dreamcraft3d" / "small" / "duck" / file).write_text(text)
    damaged, *others = rows(outputs)
    assert damaged == ("?", "duck", "damaged", {}, {})
    assert [run.name for run in others] == ["cup", "fox"]
    assert main([str(outputs)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_a_start_that_is_no_time_is_damage(tmp_path: Path) -> None:
    (tmp_path / "cup" / "a").mkdir(parents=True)
    (tmp_path / "cup" / "a" / "metrics.jsonl").touch()
    (tmp_path / "cup" / "run.json").write_text('{"stages": {"a": {}}, "started": "yesterday"}')
    assert [run.state for run in rows(tmp_path)] == ["damaged"]


def test_words_are_kept_in_their_line_and_from_the_terminal(outputs: Path, capsys) -> None:
    record = {
        "experiment": "a\x1b[31m",
        "state": "done\n",
        "note": "one\ntwo\r\u202e",
        "tags": ["\x07", "a|b"],
    }
    (outputs / "dreamcraft3d" / "small" / "cup" / "run.json").write_text(json.dumps(record))
    assert main([str(outputs)]) == 0
    said = capsys.readouterr().out
    assert said.replace("\n", "").isprintable() and len(said.splitlines()) == 5
    assert "| one two   |" in said and "| a [31m " in said and "a\\|b" in said
