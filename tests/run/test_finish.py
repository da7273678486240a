"""What follows the stages gets what it names, runs once, and again when a stage has run since."""

import json
from pathlib import Path

import pytest
from torch import nn

from threestudio_like.run import finish, scenes
from threestudio_like.run.folder import RunFolder
from threestudio_like.scene import Scene

HERE = Path(__file__).parent
PARTS = {
    "_target_": "threestudio_like.scene.Scene",
    "geometry": {"_target_": "tiny.Table", "size": 2, "start": 1.0},
    "material": {"_target_": "torch.nn.Identity"},
    "background": {"_target_": "torch.nn.Identity"},
}
CONFIG = {
    "stages": {"a": {"data": {"_target_": "tiny.Data", "image": None}}},
    "export": {"_target_": "tiny.Export", "suffix": "txt"},
    "score": {"_target_": "tiny.Score"},
    "report": None,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.syspath_prepend(str(HERE))
    import tiny

    table = tiny.Table(size=2, start=1.0)
    scenes.save(
        Scene(geometry=table, material=nn.Identity(), background=nn.Identity()), PARTS, tmp_path / "a"
    )
    return RunFolder(tmp_path, writes=False)


def test_each_step_once(folder: RunFolder) -> None:
    finish.run(CONFIG, folder, ["a"], again=True)
    model, metrics = folder.path / "export/model.txt", json.loads((folder.path / "metrics.json").read_text())
    assert metrics["mean"] == pytest.approx(float(model.read_text()) / 2)
    assert metrics["export"] == {"model": str(model), "side": 4} and folder.manifest["state"] == "finished"
    model.unlink()
    finish.run(CONFIG, folder, ["a"], again=False)
    assert not model.exists()
    finish.run(CONFIG, folder, ["a"], again=True)
    assert model.exists()


def test_the_last_stage_s_own_scores_are_the_run_s(folder: RunFolder) -> None:
    folder.record_part("stages", "a", state="finished", seconds=2.0, steps=3, psnr=20.0)
    folder.record_part("stages", "b", state="finished", seconds=1.0, steps=4, psnr=30.0, mean=7.0)
    finish.run(CONFIG, folder, ["a"], again=True)
    metrics = json.loads((folder.path / "metrics.json").read_text())
    assert metrics["psnr"] == 30.0 and metrics["seconds"] == 3.0
    assert metrics["mean"] < 2.0  # what the export scores comes first
    assert "steps" not in metrics and "state" not in metrics


def test_no_scene_no_export(folder: RunFolder) -> None:
    finish.run(CONFIG, folder, ["b"], again=True)
    assert not (folder.path / "export").exists() and folder.manifest["state"] == "finished"
