"""A study: what was finished is not done again, and the table says what was found."""

import csv
import json
import math
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from PIL import Image

from threestudio_like.run.study import Study, finished, latest, main, text


def outcome(folder: Path, variant: str, thing: str, seed: int, **scores: float) -> None:
    """A finished run's record."""
    place = folder / variant / f"{thing}-{seed}"
    (place / "export").mkdir(parents=True)
    record = {"experiment": variant, "state": "finished", "seed": seed, "started": "2026-01-01T00:00:00+0000"}
    (place / "run.json").write_text(json.dumps(record))
    stages = {"coarse": {"seconds": 10.0 + seed, "steps": 5}}
    (place / "metrics.json").write_text(json.dumps({**scores, "stages": stages}))
    (place / "config.yaml").write_text(f"object: furniture/{thing}\nimage: null\n")
    Image.new("RGB", (70, 20), "red").save(place / "export" / "preview.png")


def trials(folder: Path) -> list:
    return latest(finished(folder))


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Two variants on two objects, two seeds each; the better one by 0.1 and by 0.3."""
    for thing, base, gain in (("cup", 0.5, 0.1), ("sofa", 0.3, 0.3)):
        for seed, noise in ((0, -0.02), (1, 0.02)):
            outcome(tmp_path, "plain", thing, seed, volume_iou=base + noise)
            outcome(tmp_path, "better", thing, seed, volume_iou=base + noise + gain)
    return tmp_path


def test_an_object_counts_once_and_differences_are_of_pairs(outputs: Path) -> None:
    lines = text(trials(outputs), "plain").splitlines()
    means = {line.split()[1]: line for line in lines[2:] if line.startswith("| ") and "volume" not in line}
    assert "| 4 " in means["plain"] or "4    | 0.4 ± 0.1" in means["plain"]
    assert lines[-1].split("|")[1].strip() == "better"
    assert lines[-1].split("|")[3].strip() == "+0.2 ± 0.1"  # 0.1 and 0.3, not four numbers
    assert "0.4 ± 0.1" in next(line for line in lines if line.startswith("| plain"))


def test_what_is_not_finished_is_left_out_and_the_latest_of_twins_counts(outputs: Path) -> None:
    outcome(outputs / "again", "plain", "cup", 0, volume_iou=0.9)
    file = outputs / "again" / "plain" / "cup-0" / "run.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "started": "2026-02-01T00:00:00+0000"}))
    found = trials(outputs)
    assert len(found) == 8
    assert next(t for t in found if t[:3] == ("plain", "cup", 0)).scores["volume_iou"] == 0.9
    file.write_text(json.dumps({**record, "started": "2026-02-01T00:00:00+0000", "state": "interrupted"}))
    assert next(t for t in trials(outputs) if t[:3] == ("plain", "cup", 0)).scores["volume_iou"] == 0.48


def test_runs_of_pictures_are_a_line_of_their_own(outputs: Path) -> None:
    for variant, overlap in (("plain", 0.9), ("better", 0.95)):
        outcome(outputs, variant, "bell", 0, mask_iou=overlap)
        told = "object: null\nimage: emoji/bell.webp\n"
        (outputs / variant / "bell-0" / "config.yaml").write_text(told)
    outcome(outputs / "more", "plain", "bell", 0, volume_iou=0.4)  # an object of the picture's name
    found = trials(outputs)
    rows = [[cell.strip() for cell in line.split("|")[1:5]] for line in text(found, "plain").splitlines()]
    assert ["plain, pictures", "1", "", "0.9"] in rows and ["plain", "5"] in [row[:2] for row in rows]
    assert ["better, pictures", "1", "", "+0.05"] in rows and ["better", "4", "+0.2 ± 0.1", ""] in rows
    assert {trial.thing for trial in found} == {"cup", "sofa", "bell", "bell.webp"}


def test_the_command_writes_table_and_sheet(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(outputs), "--against", "plain"]) == 0
    assert "difference to plain" in capsys.readouterr().out
    assert (outputs / "study.md").exists()
    sheet = Image.open(outputs / "sheet.png").convert("RGB")
    counts = {colour: count for count, colour in sheet.getcolors(10**6)}
    assert counts[(255, 0, 0)] == 8 * 96 * 336
    assert sheet.width < 3 * 336 and sheet.height > 4 * 96  # two variants to the right, four things down
    rows = list(csv.DictReader((outputs / "study.csv").read_text().splitlines()))
    assert len(rows) == 8 and list(rows[0]) == ["variant", "thing", "seed", "volume_iou", "coarse_seconds"]
    found = {(row["variant"], row["thing"], row["seed"]): row for row in rows}
    assert found["better", "sofa", "1"]["volume_iou"] == "0.62" and rows[0]["coarse_seconds"] == "10.0"
    assert "older runs" not in (outputs / "study.md").read_text()


def test_mistakes_of_the_command(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (outputs / "empty").mkdir()
    for folder in ("none", "empty"):
        assert main([str(outputs / folder)]) == 2
        assert "expected a folder with finished runs" in capsys.readouterr().err
    assert main([str(outputs), "--against", "plan"]) == 2
    assert capsys.readouterr().err == "error: --against: no finished run of 'plan'; did you mean 'plain'?\n"
    assert not (outputs / "study.md").exists()


def test_older_twins_are_told_of(outputs: Path) -> None:
    outcome(outputs / "again", "plain", "cup", 0, volume_iou=0.9)
    assert main([str(outputs)]) == 0
    last = (outputs / "study.md").read_text().splitlines()[-1]
    assert last == "older runs of the same variant, thing and seed, left out: 1"


def test_a_study_that_was_killed_goes_on_where_it_stopped(run, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = run("study=tiny")
    folders = sorted((outputs / "tiny").iterdir())
    assert len(folders) == 2 and "2 runs" in capsys.readouterr().out
    half = folders[1]
    before = {folder: (folder / "second" / "scene.safetensors").read_bytes() for folder in folders}
    record = json.loads((half / "run.json").read_text())
    record["state"] = record["stages"]["second"]["state"] = "interrupted"
    (half / "run.json").write_text(json.dumps(record))
    (half / "second" / "scene.safetensors").unlink()
    untouched = (folders[0] / "run.json").stat().st_mtime_ns
    run("study=tiny")
    said = capsys.readouterr().out
    assert said.count("finished before, skipped") == 2  # a run, and the other's first stage
    assert sorted((outputs / "tiny").iterdir()) == folders
    assert (folders[0] / "run.json").stat().st_mtime_ns == untouched
    for folder in folders:
        assert (folder / "second" / "scene.safetensors").read_bytes() == before[folder]
    run("study=tiny", "seed=1,2", "stages.first.system.rate=0.04")  # others' settings: new runs
    assert len(list((outputs / "tiny").iterdir())) == 4


@pytest.mark.parametrize(
    "stages", [[1], "x", None, {"coarse": 3}, {"coarse": {}}, {"coarse": {"seconds": "x"}}]
)
def test_scores_that_are_none_are_left_out(outputs: Path, stages: object) -> None:
    for thing, score in (("cup", math.nan), ("sofa", True)):
        told = {"volume_iou": score, "chamfer": 0.5, "stages": stages}
        (outputs / "plain" / f"{thing}-0" / "metrics.json").write_text(json.dumps(told))
    first = [trial for trial in trials(outputs) if trial.variant == "plain" and trial.seed == 0]
    assert [trial.scores for trial in first] == [{"chamfer": 0.5}] * 2
    assert main([str(outputs)]) == 0


def test_at_its_end_dashboards_have_tables_and_sheet(outputs: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = {"_target_": "threestudio_like.loggers.tensorboard.TensorBoard", "version": "tensorboard"}
    loggers = OmegaConf.create({"tensorboard": board})
    Study(against="plain", loggers=loggers).on_multirun_end(OmegaConf.create({"outputs": str(outputs)}))
    found = EventAccumulator(str(outputs / "tensorboard"), size_guidance={"tensors": 0, "images": 0}).Reload()
    assert "sheet" in found.Tags()["images"]
    means, differences = (
        found.Tensors(f"{name}/text_summary")[0].tensor_proto.string_val[0].decode()
        for name in ("means", "differences")
    )
    assert "| plain   | 4    | 0.4 ± 0.1  |" in means and "| better  | 4     | +0.2 ± 0.1 |" in differences


def test_damaged_runs_are_left_out_with_a_word(outputs: Path, caplog: pytest.LogCaptureFixture) -> None:
    places = [
        outputs / variant / f"{thing}-0" for variant in ("plain", "better") for thing in ("cup", "sofa")
    ]
    (places[0] / "config.yaml").unlink()
    (places[1] / "config.yaml").write_text("- 1")
    for place, change in ((places[2], {"seed": "abc"}), (places[3], {"experiment": "a\n|b"})):
        record = json.loads((place / "run.json").read_text())
        (place / "run.json").write_text(json.dumps({**record, **change}))
    assert {trial.seed for trial in finished(outputs)} == {1} and len(finished(outputs)) == 4
    assert all(f"{place}: damaged, and left out" in caplog.messages for place in places)
    assert main([str(outputs), "--against", "plain"]) == 0
