"""Stages taken from another run: which ones, that they are the same, and what keeps them apart."""

import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from omegaconf import OmegaConf

from threestudio_like.run import reuse
from threestudio_like.run.composition import plain
from threestudio_like.run.folder import RunFolder

AGAIN = "reuse=true"


def numbers(folder: Path, stage: str) -> torch.Tensor:
    return safetensors.torch.load_file(folder / stage / "scene.safetensors")["geometry.values"]


def taken(folder: Path) -> dict[str, str]:
    stages = json.loads((folder / "run.json").read_text())["stages"]
    return {name: Path(stage["taken"]).parent.name for name, stage in stages.items() if "taken" in stage}


def test_a_variant_of_the_second_stage_takes_the_first(run) -> None:
    outputs = run("name=one") / "tiny"
    run("name=two", "stages.second.system.rate=0.2", AGAIN)
    run("name=apart", "stages.second.system.rate=0.2")
    one, two, apart = (outputs / name for name in ("one", "two", "apart"))
    assert taken(two) == {"first": "one"} and taken(apart) == {}
    assert not (two / "first/checkpoints").exists() and (two / "first/metrics.jsonl").exists()
    for stage in ("first", "second"):
        assert torch.equal(numbers(two, stage), numbers(apart, stage))  # as if it had trained it
    assert not torch.equal(numbers(two, "second"), numbers(one, "second"))
    scores = [json.loads((each / "metrics.json").read_text()) for each in (two, apart)]
    assert scores[0].keys() == scores[1].keys()
    mine, other = (json.loads((each / "run.json").read_text())["stages"]["first"] for each in (two, one))
    assert mine["seconds"] == other["seconds"] and mine["steps"] == other["steps"]


def test_a_shorter_plan_takes_all_it_has(run) -> None:
    outputs = run("name=one") / "tiny"
    run("name=first-alone", "plan=[first]", AGAIN)
    run("name=all", AGAIN)
    assert taken(outputs / "first-alone") == {"first": "one"}
    assert taken(outputs / "all") == {"first": "first-alone", "second": "one"}  # in the folders' order
    assert (outputs / "first-alone/export").is_dir()
    run(f"resume={outputs / 'all'}")  # a finished run with taken stages is a finished run
    assert taken(outputs / "all") == {"first": "first-alone", "second": "one"}


def test_what_decides_and_what_does_not(run) -> None:
    folder = RunFolder(run("name=one") / "tiny/one", writes=True)
    tree = plain(folder.path / "config.yaml")
    own = reuse.key("first", tree, folder)
    assert folder.part("stages", "first")["key"] == own

    def changed(where: str, value: object) -> str:
        other = OmegaConf.create(tree)
        OmegaConf.update(other, where, value, force_add=True)
        return reuse.key("first", OmegaConf.to_container(other), folder)

    for where, value in (("seed", 1), ("stages.first.system.rate", 0.2), ("ops.backend", "torch")):
        assert changed(where, value) != own
    for where, value in (("stages.second.system.rate", 0.2), ("tags", ["a"]), ("plan", ["first"])):
        assert changed(where, value) == own
    assert changed("init", str(folder.path)) != own
    folder.manifest["versions"] = {"torch": "3"}
    assert reuse.key("first", tree, folder) != own
    folder.close()


def test_what_is_unfinished_or_of_other_code_is_not_taken(run, monkeypatch) -> None:
    outputs = run("name=one") / "tiny"
    record = outputs / "one/run.json"
    said = json.loads(record.read_text())
    half = {**said, "stages": {**said["stages"], "first": {**said["stages"]["first"], "state": "running"}}}
    record.write_text(json.dumps(half))
    run("name=two", AGAIN)
    assert taken(outputs / "two") == {"second": "one"}
    monkeypatch.setattr("threestudio_like.run.folder.revision", lambda: "another")
    run("name=three", AGAIN)
    assert taken(outputs / "three") == {}


def test_files_that_settings_name_count(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(b"one")
    os.utime(file, ns=(1, 1))
    before = reuse.stamps({str(file), "dreamcraft3d", "0.5"})
    assert before == [(str(file), 3, 1)]
    file.write_bytes(b"two")
    assert reuse.stamps({str(file)}) != before
    (tmp_path / "scene.yaml").write_text("a: 1\n")
    assert [name for name, _, _ in reuse.stamps({str(tmp_path)})] == [str(tmp_path / "scene.yaml")]


def test_half_a_copy_is_no_stage(tmp_path: Path, monkeypatch) -> None:
    other, mine = tmp_path / "other/first", tmp_path / "mine"
    other.mkdir(parents=True)
    (other / "scene.safetensors").write_bytes(b"numbers")
    (other.parent / "run.json").write_text('{"stages": {"first": {"state": "finished", "steps": 3}}}')
    mine.mkdir()
    folder = RunFolder(mine, writes=True)
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            reuse.take(other, folder)
    assert not (mine / "first").exists()
    assert reuse.take(other, folder) == {"state": "finished", "steps": 3, "taken": str(other)}
    assert (mine / "first/scene.safetensors").read_bytes() == b"numbers" and not (mine / ".taken").exists()
    folder.close()
