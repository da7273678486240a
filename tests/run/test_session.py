"""What a user can get wrong, each answered in one line; and the folder that is left."""

import json
from pathlib import Path
from textwrap import dedent

import pytest
from PIL import Image

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ("stages.first.system.rat=3", "stages.first.system.rat: no such key; did you mean 'rate'?"),
        (
            "+stages.first.system.ratee=1",
            "stages.first.system.ratee: System has no such setting; did you mean 'rate'?",
        ),
        (
            "stages.second.system.scene.geometry.size=0",
            "stages.second.system.scene.geometry.size: expected at least 1",
        ),
        ("stages.first.system.rate=3", "stages.first: rate: 3 is too large"),
        ("ops.backend=nuba", "ops.backend: no backend 'nuba'"),
        ("+promt=x", "promt: nothing reads this key; did you mean 'prompt'?"),
        ("trainer@stages.first.trainer=cpuu", "trainer: no option 'cpuu'; did you mean 'cpu'?"),
        ("experiment=tini", "experiment: no option 'tini'; did you mean 'tiny'?"),
        ("foo bar", "cannot read 'foo bar'; write key=value"),
        ("image=nothing.png", "image: no such file 'nothing.png'"),
        (f"image={__file__}", "is not a picture"),
        ("resume=nowhere", "resume: no run in nowhere"),
        (f"resume={CONFIGS}", f"resume: no run in {CONFIGS}"),  # a config.yaml, and no run.json
        ("seed=-1", "seed: expected a whole number from 0"),
        ("plan=[]", "plan: names no stage; choose one of: first, second"),
    ],
)
def test_mistakes(refused, tmp_path: Path, overrides: str, line: str) -> None:
    assert line in refused(overrides)
    left = list((tmp_path / "outputs").glob("*/*/run.json"))
    assert len(left) == ("stages.second.system" in overrides)  # there the first stage has worked


def test_typo_in_yaml(refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "configs" / "experiment"
    folder.mkdir(parents=True)
    text = """
        # @package _global_
        defaults: [/stage@stages.first: tiny, _self_]
        stages: {frist: {trainer: {max_steps: 3}}}
    """
    (folder / "typo.yaml").write_text(dedent(text).lstrip())
    searched = f"hydra.searchpath=[file://{tmp_path}/configs]"
    said = refused("experiment=typo", searched)
    assert said.startswith("stages.frist: has no system and no data") and "did you mean 'first'?" in said


def test_run_folder(run) -> None:
    folder = (
        run("stages.first.trainer.max_steps=10", "stages.second.trainer.max_steps=3")
        / "tiny/a-configured-prompt"
    )
    manifest, metrics = (json.loads((folder / name).read_text()) for name in ("run.json", "metrics.json"))
    assert manifest["state"] == "finished" and manifest["seed"] == 0 and "torch" in manifest["versions"]
    assert {stage["state"] for stage in manifest["stages"].values()} == {"finished"}
    assert metrics["stages"]["second"]["steps"] == 3 and "mean" in metrics and "seconds" in metrics
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    stage = ("checkpoints/last.ckpt", "metrics.json", "metrics.jsonl", "scene.safetensors", "scene.yaml")
    assert files >= {"config.yaml", "log.txt", "export/model.txt", *(f"first/{name}" for name in stage)}
    assert {name for name in files if Path(name).name.startswith(".")} == {".lock"}  # nothing half written
    assert "stages.first" not in (folder / "log.txt").read_text().splitlines()[0]


def test_second_run_takes_another_name(run) -> None:
    short = ("plan=[first]", "stages.first.trainer.max_steps=1", "name=My Cup!")
    run(*short)
    outputs = run(*short)
    assert sorted(p.name for p in (outputs / "tiny").iterdir()) == ["my-cup", "my-cup-2"]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("../../etc/<b>passwd</b>", "etc-b-passwd-b"),
        ('${nope}, it\'s "red"!', "nope-it-s-red"),
        ("été 杯子", "été-杯子"),
    ],
)
def test_any_prompt(run, words: str, name: str) -> None:
    outputs = run("plan=[first]", "stages.first.trainer.max_steps=1", f"prompt={words}")
    folder = outputs / "tiny" / name
    assert [p.name for p in (outputs / "tiny").iterdir()] == [name]
    from omegaconf import OmegaConf

    assert OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))["prompt"] == words


def test_picture_leaves_configured_prompt_behind(run, tmp_path: Path) -> None:
    picture = tmp_path / "Blue Cup.ppm"
    Image.new("RGB", (2, 2)).save(picture)
    outputs = run("plan=[first]", "stages.first.trainer.max_steps=1", f"image={picture}")
    config = (outputs / "tiny" / "blue-cup" / "config.yaml").read_text()
    assert "prompt: ''" in config and f"image: {picture}" in config


def test_sweep_goes_on_after_a_mistake(run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(
            "hydra.mode=MULTIRUN",
            "plan=[first]",
            "stages.first.trainer.max_steps=1",
            "stages.first.system.rate=3,0.1",
        )
    assert stopped.value.code == 2
    assert "error: stages.first: rate: 3 is too large" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "outputs/tiny").iterdir()] == ["a-configured-prompt"]


def test_bug_keeps_its_traceback(run, monkeypatch: pytest.MonkeyPatch) -> None:
    import tiny

    monkeypatch.setattr(tiny.System, "training_step", lambda self, batch, batch_idx: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("plan=[first]")
